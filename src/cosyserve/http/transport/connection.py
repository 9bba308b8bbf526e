"""One connection, from its acceptance to its end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr
from starlette.types import ASGIApp

from cosyserve.http.transport.http1 import Http1
from cosyserve.http.transport.inlet import READ_BYTES, Inlet
from cosyserve.http.transport.tasks import Tasks

HEAD_S = 10.0
"""For the whole head of a request, however its bytes drip; a new connection owes one at once."""
LINGER_S = 10.0
"""How long a client may go on sending after it was refused."""


@dataclass(slots=True)
class House:
    """What all connections have in common. keep_alive_s: how long one may be idle after an answer.

    What changes here holds from the next connection, answer or session on.
    """

    app: ASGIApp
    config: Config
    context: WorkerContext
    keep_alive_s: float
    max_connections: int


class Connection:
    """Reads for Hypercorn's protocol and writes for it; knows how long to wait for what, and how to close."""

    def __init__(
        self, house: House, inlet: Inlet, reader: asyncio.StreamReader, transport: asyncio.WriteTransport
    ) -> None:
        loop = asyncio.get_running_loop()
        self._house = house
        self._inlet = inlet
        self._reader = reader
        self._writer = asyncio.StreamWriter(transport, inlet, reader, loop)
        self._call_later = loop.call_later
        self._tasks = Tasks(loop)
        self._turn = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = False
        self._protocol = self._speak_http()

    async def run(self) -> None:
        """Until the client or the application has ended it, and everything has been sent."""
        try:
            async with self._tasks:
                self._wait(HEAD_S, self._writer.close)
                await self._read()
        finally:
            self._stop_waiting()
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
            # It has a way back to here: without this the end of a flood of connections is the garbage collector's work.
            del self._protocol

    @property
    def waiting(self) -> bool:
        """Whether there is nothing to answer: its client has to do the next thing."""
        return self._timer is not None and not self._writer.is_closing()

    @property
    def answered(self) -> bool:
        """Whether it rests after an answer, with no further request begun."""
        return self._idle

    def stop(self) -> None:
        """Close it, where there is nothing to answer."""
        if self.waiting:
            self._writer.close()

    def reset(self) -> None:
        """The service is at its end: what has not been sent by now never will be, and its client has to know."""
        if self._writer.transport.get_write_buffer_size():
            self._inlet.reset()

    def _speak_http(self) -> Http1:
        house, connection = self._house, self._writer.get_extra_info("socket")
        peer, own = (self._writer.get_extra_info(name) for name in ("peername", "sockname"))
        addresses = [address and parse_socket_addr(connection.family, address) for address in (peer, own)]
        state = ConnectionState({})
        app = cast(AppWrapper, house.app)
        return Http1(self._inlet, app, house.config, house.context, self._tasks, state, False, *addresses, self._send)

    async def _read(self) -> None:
        with suppress(OSError):
            while data := await self._reader.read(READ_BYTES):
                await self._handle(data)
            await self._handle(b"")
        await self._protocol.handle(Closed())

    async def _handle(self, data: bytes) -> None:
        if self._writer.is_closing():
            return
        if self._idle and data:
            self._wait(HEAD_S, self._writer.close)
        await self._protocol.handle(RawData(data))

    async def _send(self, event: Event) -> None:
        match event:
            case RawData(data=data):
                await self._write(data)
            case Closed():
                self._leave()
            case Updated(idle=True):
                self._rest()
            case Updated(idle=False):
                self._stop_waiting()

    async def _write(self, data: bytes) -> None:
        """What cannot be sent is dropped: that its client has gone is told by what reads."""
        async with self._turn:
            if self._writer.is_closing():
                return
            try:
                self._writer.write(data)
                await self._writer.drain()
            except (OSError, RuntimeError):
                self._writer.transport.abort()

    def _leave(self) -> None:
        if not self._inlet.lingers:
            self._writer.close()
            return
        with suppress(OSError):
            self._writer.write_eof()
        self._wait(LINGER_S, self._close_when_sent)

    def _close_when_sent(self) -> None:
        if self._writer.transport.get_write_buffer_size():
            self._wait(LINGER_S, self._close_when_sent)
        else:
            self._writer.close()

    def _rest(self) -> None:
        self._wait(HEAD_S if self._protocol.has_more else self._house.keep_alive_s, self._writer.close)
        self._idle = not self._protocol.has_more

    def _wait(self, seconds: float, then: Callable[[], Any]) -> None:
        self._stop_waiting()
        self._timer = self._call_later(seconds, then)

    def _stop_waiting(self) -> None:
        self._idle = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
