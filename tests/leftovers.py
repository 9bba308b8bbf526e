"""`python -m tests.leftovers serve ...`: the command line, without a garbage collector until it is asked for.

SIGUSR1 writes what nothing but the collector could free since the last time, to LEFTOVERS in the working directory: a
JSON object of types' names and how many there are of each.
"""

import collections
import gc
import json
import signal
import sys
from pathlib import Path

LEFTOVERS = "leftovers.json"


def report(*_: object) -> None:
    """Write it, whole or not at all."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    kinds = collections.Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.garbage)
    gc.garbage.clear()
    unfinished = Path(f"{LEFTOVERS}.new")
    unfinished.write_text(json.dumps(kinds))
    unfinished.rename(LEFTOVERS)


if __name__ == "__main__":
    from cosyserve.__main__ import main

    gc.disable()
    signal.signal(signal.SIGUSR1, report)
    sys.exit(main())
