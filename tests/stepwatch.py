"""`python -m tests.stepwatch FILE serve ...`: the command line, its event loop watched.

Every step of the main thread's loop (a callback, or a task up to its next wait) is measured by that thread's own CPU
time, which a busy machine does not lengthen. FILE has the longest one so far, as JSON: its seconds, and where its task
waits now. Nothing is left out: start and end are watched too, and what the garbage collector takes on the way.
"""

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any


def watch(report: Path) -> None:
    """From now on, in this process."""
    run = asyncio.events.Handle._run
    longest = 0.0

    def timed_run(handle: asyncio.Handle) -> None:
        nonlocal longest
        before = time.thread_time()
        run(handle)
        took = time.thread_time() - before
        # Libraries have loops of their own, on other threads, which keep nobody waiting.
        if took > longest and threading.current_thread() is threading.main_thread():
            longest = took
            report.write_text(json.dumps({"cpu_s": took, "step": _described(handle)}))

    asyncio.events.Handle._run = timed_run  # type: ignore[method-assign, assignment]


def _described(handle: Any) -> str:
    task = getattr(handle._callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return repr(handle._callback)
    places: list[str] = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else repr(waiting))
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return " > ".join(places[-5:])


if __name__ == "__main__":
    watch(Path(sys.argv.pop(1)))
    from cosyserve.__main__ import main

    sys.exit(main())
