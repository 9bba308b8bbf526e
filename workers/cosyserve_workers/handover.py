"""A thread's messages on their way to the event loop."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable

from cosyserve.protocol import FromWorker


class Handover:
    """In order, and at most `depth` of them unhandled: the thread waits beyond that.

    The loop is woken once for all that have come by then, which is what keeps it from being busy with waking up.
    handle: called on the loop with each. It must not raise.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, handle: Callable[[FromWorker], None], depth: int) -> None:
        self._loop = loop
        self._handle = handle
        self._room = threading.Semaphore(depth)
        self._waiting: deque[FromWorker] = deque()
        self._woken = False

    def put(self, message: FromWorker) -> None:
        """Called by the thread. After the loop has closed there is nobody left to tell."""
        self._room.acquire()
        self._waiting.append(message)
        # Whoever clears it looks at what waits after that, so what was put before it was read is seen.
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._handle_all)

    def _handle_all(self) -> None:
        self._woken = False
        waiting = len(self._waiting)
        for _ in range(waiting):
            self._handle(self._waiting.popleft())
        if waiting:
            self._room.release(waiting)
