"""What a client sends, up to where somebody reads it: bounded, droppable, and with an end that nothing hides."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

READ_BYTES = 64 * 1024
KEPT_BYTES = 32 * 1024
"""asyncio stops reading at twice as much that nobody has taken."""
MOST_DROPPED = 64 * 1024 * 1024
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing is a reset, and what was not sent is not."""


class Inlet(asyncio.StreamReaderProtocol):
    """The way from a socket to its StreamReader.

    ended: done as soon as the client has shut down its side, or the connection is no more; what it sent before may
    still be unread. dropping: nothing that comes is wanted any more; the end still is. lingers: the client was, or is
    taken to be, in the midst of sending: closing at once would be a reset, and it would never read its answer.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.dropping = False
        self.lingers = False
        self._held_back = False
        self._dropped = 0
        self._socket: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        self._socket = transport
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self.dropping:
            self._drop(len(data))
            return
        super().data_received(data)
        self._read_on()

    def eof_received(self) -> bool | None:
        """Called by asyncio."""
        self._end()
        return super().eof_received()

    def connection_lost(self, _: Exception | None) -> None:
        """Called by asyncio."""
        self.dropping = True
        self._end()
        # Why, nobody asks. Kept, the error would hold the frames that it passed through, and they the connection.
        super().connection_lost(None)
        # asyncio's transports hold on to a method of their own.
        self._socket._read_ready_cb = None  # type: ignore[attr-defined]  # noqa: SLF001

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Nobody reads for as long as this is entered, and for as long as the client likes.

        What is over the bound cannot wait: with it unread, the end would not be seen. All from there on is dropped.
        """
        self._held_back = True
        self._read_on()
        try:
            yield
        finally:
            self._held_back = False

    def drop(self, *, lingers: bool = False) -> None:
        """From now on, nothing is wanted any more."""
        self.dropping = True
        self.lingers = self.lingers or lingers
        self._socket.resume_reading()

    @property
    def clear(self) -> bool:
        """Whether what is written now is sent at once, as far as the kernel has room for it."""
        return not (self._socket.is_closing() or self._socket.get_write_buffer_size())

    def write(self, data: bytes) -> None:
        """Send it, behind whatever is not sent yet."""
        self._socket.write(data)

    def reset(self) -> None:
        """End the connection so that its client cannot take it for a whole answer."""
        connection: socket.socket = self._socket.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.abort()

    def _read_on(self) -> None:
        if self._held_back and not self._socket.is_reading():
            self.drop(lingers=True)

    def _drop(self, size: int) -> None:
        self.lingers = True
        self._dropped += size
        if self._dropped > MOST_DROPPED:
            self._socket.abort()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
