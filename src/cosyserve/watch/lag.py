"""How late the event loop is, by the clock: what keeps one request waiting keeps all of them."""

import asyncio

from prometheus_client import Histogram

PERIOD_S = 0.1


async def watch_lag(lag: Histogram) -> None:
    """Until cancelled: how much later than asked for this task is woken, in seconds."""
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + PERIOD_S
        await asyncio.sleep(PERIOD_S)
        lag.observe(max(0.0, loop.time() - due_at))
