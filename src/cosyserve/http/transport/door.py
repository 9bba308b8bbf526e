"""Where connections come in: never more than there is room for, and no more words about it than one a second.

Those that have nothing to answer make room for new ones: silent clients, however many, keep nobody out.
"""

import asyncio
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from cosyserve.errors import TooManyConnections
from cosyserve.http.transport.connection import Connection, House
from cosyserve.http.transport.inlet import KEPT_BYTES, READ_BYTES, Inlet

AT_ONCE = 64
"""Connections accepted in one go; others wait for whatever else there is to do."""
REST_S = 0.1
SILENCE_S = 1.0
FLUSH_S = 3.0
"""What connections get to send the rest of their answers once every stream has been answered."""
UNWIND_S = 1.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_door(listener: socket.socket, house: House) -> AsyncIterator[None]:
    """Connections are served while this is entered; on leaving they get FLUSH_S."""
    door = Door(listener, house)
    door.open()
    try:
        yield
    finally:
        await door.close()


class Door:
    """Accepts, and turns away with a 503 that costs nothing where every place is taken by somebody who is served."""

    def __init__(self, listener: socket.socket, house: House) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._house = house
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: dict[Connection, None] = {}
        """In the order of their coming."""
        self._open = False
        self._unsaid = 0
        self._silent_until = 0.0

    def open(self) -> None:
        """Begin, or go on, to accept."""
        self._open = True
        self._loop.add_reader(self._listener, self._accept)

    async def close(self) -> None:
        """Take nobody in any more, and see everybody off."""
        self._open = False
        self._loop.remove_reader(self._listener)
        self._listener.close()
        await self._house.context.terminated.set()
        for connection in [*self._connections]:
            connection.stop()
        await self._gone(FLUSH_S)
        for connection in [*self._connections]:
            connection.reset()
        for task in self._tasks:
            task.cancel()
        await self._gone(UNWIND_S)

    async def _gone(self, timeout_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    @property
    def _full(self) -> bool:
        return len(self._tasks) >= self._house.max_connections

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if self._full and len(self._tasks) > len(self._connections):
                # Who came just now may make room as soon as it is there.
                return
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(error)
                return
            self._receive(connection)

    def _rest(self, error: OSError) -> None:
        """Without descriptors or memory the next attempt would fail as well, and the one after it."""
        self._say("connections cannot be accepted", error=str(error))
        self._loop.remove_reader(self._listener)
        self._loop.call_later(REST_S, self._resume)

    def _resume(self) -> None:
        if self._open:
            self.open()

    def _receive(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if self._full and not self._make_room():
            self._say("connections refused", max_connections=self._house.max_connections)
            self._turn_away(connection)
            return
        task = self._loop.create_task(self._host(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _make_room(self) -> bool:
        """Close one that waits for its client, rather one that owes a request than one that was answered.

        Returns whether there was any. The longest there goes first: who knocks now speaks before its turn comes.
        """
        waiting = [connection for connection in self._connections if connection.waiting]
        leaving = next((one for one in waiting if not one.answered), waiting[0] if waiting else None)
        if leaving is not None:
            leaving.stop()
        return leaving is not None

    def _turn_away(self, connection: socket.socket) -> None:
        with connection:
            with suppress(OSError):
                # A close with something unread would be a reset.
                connection.recv(READ_BYTES)
            with suppress(OSError):
                connection.send(self._refusal())

    async def _host(self, accepted: socket.socket) -> None:
        reader = asyncio.StreamReader(KEPT_BYTES)
        inlet = Inlet(reader)
        transport, _ = await self._loop.connect_accepted_socket(lambda: inlet, accepted)
        connection = Connection(self._house, inlet, reader, transport)
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]

    def _say(self, event: str, **facts: object) -> None:
        self._unsaid += 1
        now = time.monotonic()
        if now >= self._silent_until:
            log.warning(event, times=self._unsaid, **facts)
            self._unsaid, self._silent_until = 0, now + SILENCE_S

    def _refusal(self) -> bytes:
        error = TooManyConnections(f"{self._house.max_connections} connections are open (server.max_connections)")
        body = json.dumps(error.body(), separators=(",", ":")).encode()
        head = (
            f"HTTP/1.1 {error.status} Service Unavailable\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nretry-after: {error.retry_after_s}\r\n"
            f"x-request-id: {uuid.uuid4().hex}\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body
