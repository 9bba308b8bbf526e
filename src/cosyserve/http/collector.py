"""The garbage collector: what it looks through makes the event loop wait, a microsecond for each thing that is alive.

A connection is some sixty things, so a thousand of them hold the loop for 60 ms whenever the oldest generation is gone
through. That is done when there are few, since hardly anything of ours waits for it: a connection that has ended is
freed at once.
"""

import asyncio
import gc
import importlib
import time

FEW = 15_000
"""Things in the oldest generation, of which a pass takes some milliseconds; to count them takes a hundredth of it."""
WORTH_IT = 5
"""Collections of the middle generation before there may be enough of the oldest to look for."""
PATIENCE_S = 600
"""So long garbage waits for a quiet moment."""
PERIOD_S = 1.0
NEVER = 2**31 - 1


def settle() -> None:
    """Load what is loaded late, keep the collector from all that is there for good, and from the oldest by itself.

    Each of the first two would hold the event loop for 40 ms and more at a time of its own choosing.
    """
    importlib.import_module("anyio._backends._asyncio")
    gc.collect()
    gc.freeze()
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, NEVER)


async def collect_when_quiet(few: int = FEW, patience_s: float = PATIENCE_S) -> None:
    """Until cancelled, go through the oldest generation while it is small, or after a while however large it is."""
    last = time.monotonic()
    while True:
        await asyncio.sleep(PERIOD_S)
        if gc.get_count()[2] < WORTH_IT:
            continue
        impatient = time.monotonic() - last >= patience_s
        if impatient or (things := len(gc.get_objects(2))) <= few:
            gc.collect()
            last = time.monotonic()
        else:
            # To count so many holds the loop too.
            await asyncio.sleep(min(patience_s, PERIOD_S * things / max(1, few)))
