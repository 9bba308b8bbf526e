"""Sends that take too long, and sends that do not."""

import asyncio

from cosyserve.http.patience import Patience
from tests.serving import DEADLINE_S

SECONDS = 0.05


def test_a_send_that_takes_too_long() -> None:
    async def scenario() -> None:
        lost = asyncio.Event()
        patience = Patience(SECONDS, lost.set)
        with patience:
            async with asyncio.timeout(DEADLINE_S):
                await lost.wait()

    asyncio.run(scenario())


def test_one_that_begins_while_the_timer_of_an_earlier_one_runs() -> None:
    async def scenario() -> None:
        lost = asyncio.Event()
        patience = Patience(SECONDS, lost.set)
        with patience:
            pass
        await asyncio.sleep(SECONDS / 2)
        with patience:
            async with asyncio.timeout(DEADLINE_S):
                await lost.wait()

    asyncio.run(scenario())


def test_nobody_is_lost_who_takes_what_is_sent_or_is_sent_nothing() -> None:
    async def scenario() -> None:
        lost: list[bool] = []
        patience = Patience(SECONDS, lambda: lost.append(True))
        for _ in range(20):
            with patience:
                pass
            await asyncio.sleep(SECONDS / 4)
        await asyncio.sleep(2 * SECONDS)
        with patience:
            pass
        patience.close()
        await asyncio.sleep(2 * SECONDS)
        assert not lost

    asyncio.run(scenario())


def test_after_its_end_nothing_strikes() -> None:
    async def scenario() -> None:
        lost: list[bool] = []
        patience = Patience(SECONDS, lambda: lost.append(True))
        with patience:
            patience.close()
            await asyncio.sleep(2 * SECONDS)
        assert not lost

    asyncio.run(scenario())
