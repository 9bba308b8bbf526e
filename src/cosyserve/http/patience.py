"""How long a listener may refuse what is sent to it."""

import asyncio
from collections.abc import Callable


class Patience:
    """Entered for each send, left at its end; `lost` is called on the event loop where one takes over `seconds`.

    One timer serves all sends, and is not moved for any: a timeout for each costs more than the send.
    """

    def __init__(self, seconds: float, lost: Callable[[], None]) -> None:
        self._seconds = seconds
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + self._seconds, self._look)

    def __exit__(self, *_: object) -> None:
        self._since = None

    def close(self) -> None:
        """Nothing more will be sent."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._since is None:
            return
        if (due_at := self._since + self._seconds) <= self._loop.time():
            self._lost()
        else:
            self._timer = self._loop.call_at(due_at, self._look)
