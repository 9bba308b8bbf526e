"""How many may be inside at once, where somebody has set a bound."""

import asyncio


class Turnstile:
    """An asynchronous context manager. most: 0 is no bound."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._changed = asyncio.Condition()

    def adjust(self, most: int) -> None:
        """So many from the next one on that leaves."""
        self._most = most

    async def __aenter__(self) -> None:
        """Wait for a place."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._most or self._inside < self._most)
            self._inside += 1

    async def __aexit__(self, *_: object) -> None:
        """Give it up."""
        async with self._changed:
            self._inside -= 1
            self._changed.notify_all()
