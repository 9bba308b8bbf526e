"""What the first request would pay for, and the garbage collector again and again: done before anybody waits."""

import gc
import importlib

OLDEST_AFTER = 2
"""Collections of the middle generation before one of the oldest (10 by default). Thousands of connections that come and
go leave garbage in cycles: gathered for longer, it held the event loop for 90 to 190 ms at a time; so, for 40 to 60.
"""


def warm_up() -> None:
    """Load what is loaded late, and keep the collector from all that is there for good.

    Each of the two would hold the event loop for 40 ms and more, the second whenever enough garbage has come together.
    """
    importlib.import_module("anyio._backends._asyncio")
    gc.collect()
    gc.freeze()
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, OLDEST_AFTER)
