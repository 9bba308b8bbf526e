"""A worker's results: its pipe, read by the event loop itself.

A thread between the two would contend with the loop for the interpreter at every message.
"""

import asyncio
import logging
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

from cosyserve.protocol import FromWorker

READ_BYTES = 64 * 1024
"""Taken in one go, which is what a pipe holds; then the loop does whatever else there is to do."""
_SIZE, _LONG_SIZE = struct.Struct("!i"), struct.Struct("!Q")
_LONG = -1
"""Says that the size follows, being one that does not fit here."""

log = logging.getLogger(__name__)


class Results:
    """Hands each message to `deliver`, then calls `ended` once, both on the event loop.

    The end is that of the pipe, or a message that makes no sense or that `deliver` raises at.
    """

    def __init__(
        self,
        connection: Connection,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[FromWorker], None],
        ended: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._pipe = connection.fileno()
        self._loop = loop
        self._deliver = deliver
        self._ended = ended
        self._messages = Messages()
        os.set_blocking(self._pipe, False)
        loop.add_reader(self._pipe, self._read)

    def finish(self) -> None:
        """The worker is gone: take what is in the pipe, which somebody else may hold open, and close it."""
        while not self._connection.closed and self._read():
            pass
        self.close()

    def close(self) -> None:
        """Whatever is in it. Safe to call again."""
        if not self._connection.closed:
            self._loop.remove_reader(self._pipe)
            self._connection.close()
            self._ended()

    def _read(self) -> bool:
        """Whether there may be more at once."""
        try:
            data = os.read(self._pipe, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        try:
            for message in self._messages.take(data):
                self._deliver(message)
        except Exception:
            log.exception("a message cannot be read or delivered: its sender counts as lost")
            data = b""
        if not data:
            self.close()
        return bool(data)


class Messages:
    """What `Outbox` sends, from its bytes: each message, or a list of several, is a pickle behind its size."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._missing = 0

    def take(self, data: bytes) -> Iterator[FromWorker]:
        """Those that are whole by now. Raises ValueError, and whatever unpickling does, at what makes no sense."""
        self._held.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        whole, at = memoryview(b"".join(self._held)), 0
        begin, end = _place(whole, at)
        while end <= len(whole):
            message = pickle.loads(whole[begin:end])  # noqa: S301 - a worker runs with our rights anyway
            yield from message if isinstance(message, list) else (message,)
            at = end
            begin, end = _place(whole, at)
        self._held, self._missing = [bytes(whole[at:])], end - len(whole)


def _place(data: memoryview, at: int) -> tuple[int, int]:
    """Where the pickle behind the size at `at` begins and ends; past `data` where that cannot be told yet."""
    begin = at + _SIZE.size
    if begin > len(data):
        return begin, begin
    (size,) = _SIZE.unpack_from(data, at)
    if size == _LONG:
        at, begin = begin, begin + _LONG_SIZE.size
        if begin > len(data):
            return begin, begin
        (size,) = _LONG_SIZE.unpack_from(data, at)
    if size < 0:
        raise ValueError(f"a message of {size} bytes")
    return begin, begin + size
