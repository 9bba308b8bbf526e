"""The way to the client: one frame at a time, each of them whole, and not for ever."""

import asyncio
import json
from collections.abc import Callable

import anyio
import anyio.lowlevel
from starlette.types import Send

from cosyserve.errors import ListenerStalled
from cosyserve.live.messages import Message


class Outlet:
    """Frames leave in the order of the calls.

    A frame that has begun is sent to its end even if its sender is cancelled: half of one would garble all that come
    after it. Nothing follows a goodbye. stall_timeout_s: how long the client may refuse a frame.
    """

    def __init__(self, send: Send, stall_timeout_s: float) -> None:
        self._send = send
        self._stall_timeout_s = stall_timeout_s
        self._turn = asyncio.Lock()
        self._closed = False

    async def tell(self, *messages: Message, wanted: Callable[[], bool] = lambda: True) -> None:
        """JSON messages with nothing between them, if still wanted when their turn comes. Raises ListenerStalled."""
        async with self._turn:
            for message in messages if wanted() else ():
                await self._frame({"type": "websocket.send", "text": json.dumps(message, ensure_ascii=False)})

    async def audio(self, data: bytes, wanted: Callable[[], bool]) -> None:
        """A binary frame, if it has any bytes and is still wanted when its turn comes. Raises ListenerStalled."""
        async with self._turn:
            if data and wanted():
                await self._frame({"type": "websocket.send", "bytes": data})
        # A send that need not wait would keep a cancellation, and all other streams, from being noticed.
        await anyio.lowlevel.checkpoint()

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye. Raises ListenerStalled."""
        async with self._turn:
            await self._frame({"type": "websocket.close", "code": code, "reason": reason})

    async def _frame(self, frame: Message) -> None:
        if self._closed:
            return
        self._closed = frame["type"] == "websocket.close"
        with anyio.move_on_after(self._stall_timeout_s, shield=True) as patience:
            await self._send(frame)
        if patience.cancelled_caught:
            raise ListenerStalled(f"the client read nothing for {self._stall_timeout_s:g} s")
