"""What the first request would pay for, and the garbage collector again and again: done before anybody waits."""

import gc
import importlib


def warm_up() -> None:
    """Load what is loaded late, and keep the collector from all that is there for good.

    Each of the two would hold the event loop for 40 ms and more, the second whenever enough garbage has come together.
    """
    importlib.import_module("anyio._backends._asyncio")
    gc.collect()
    gc.freeze()
