"""A stage's clients: each asks, listens to the end, and asks again."""

import asyncio
from collections.abc import Callable, Iterator

from cosyserve.client.measure.asking import Asker
from cosyserve.client.measure.plan import Ask, Stage
from cosyserve.client.measure.record import Outcome, Run

REFUSED_PAUSE_S = 0.5
"""Before a client that was turned away comes again."""


async def ask_all(stage: Stage, asker: Asker, until: float, deadline: float, on_run: Callable[[Run], None]) -> None:
    """All begin together. No request begins after `until`, and none goes on after `deadline` (the loop's clock)."""
    asks = iter(stage.asks)
    async with asyncio.TaskGroup() as group:
        for _ in range(stage.clients):
            group.create_task(_client(asks, asker, until, deadline, on_run))


async def _client(
    asks: Iterator[Ask], asker: Asker, until: float, deadline: float, on_run: Callable[[Run], None]
) -> None:
    loop = asyncio.get_running_loop()
    async with asker.target.open() as client:
        while loop.time() < until and (ask := next(asks, None)):
            run = await asker.ask(client, ask, deadline)
            on_run(run)
            # A timer may go off a little early: another request would be cut before it was sent.
            if run.outcome is Outcome.CUT:
                return
            if run.outcome is Outcome.REFUSED:
                await asyncio.sleep(REFUSED_PAUSE_S)
