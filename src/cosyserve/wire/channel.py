"""Messages between the front end and a helper's process over one socket: a pickle each, behind its length.

Nothing here or above here in the import chain may load numpy: a helper's process limits its threads first.
"""

import io
import pickle
import socket
import struct
import time
from typing import Any

_HEAD = struct.Struct("<Q")
_PROTOCOL = 5
"""The first that carries a bytearray without naming a class."""


class Channel:
    """One side. Times are seconds; None waits for ever. Used by one thread at a time.

    plain: take messages of plain values alone (None, numbers, text, bytes, lists, tuples, dicts). What came from a
    process that reads strangers' bytes must not choose what this one imports and calls.
    most_bytes: how long a message from the other side may be.
    """

    def __init__(self, end: socket.socket, *, plain: bool = False, most_bytes: int | None = None) -> None:
        self._end = end
        self._load = _load_plain if plain else pickle.loads
        self._most_bytes = most_bytes

    def send(self, message: object, timeout_s: float | None = None) -> None:
        """Raises TimeoutError, OSError, and what pickling raises."""
        body = pickle.dumps(message, _PROTOCOL)
        self._end.settimeout(timeout_s)
        self._end.sendall(_HEAD.pack(len(body)))
        self._end.sendall(body)

    def receive(self, timeout_s: float | None = None) -> Any:
        """Raises TimeoutError, EOFError where the other side has ended, OSError, and what unpickling raises."""
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        (size,) = _HEAD.unpack(self._read(_HEAD.size, give_up_at))
        if self._most_bytes is not None and size > self._most_bytes:
            raise pickle.UnpicklingError(f"a message of {size} bytes: at most {self._most_bytes} are taken")
        return self._load(self._read(size, give_up_at))

    def close(self) -> None:
        """The other side sees the end."""
        self._end.close()

    def _read(self, size: int, give_up_at: float | None) -> bytearray:
        body = bytearray(size)
        with memoryview(body) as room:
            filled = 0
            while filled < size:
                filled += self._read_some(room[filled:], give_up_at)
        return body

    def _read_some(self, room: memoryview, give_up_at: float | None) -> int:
        # A timeout of 0 would not wait, and not say that it did not.
        self._end.settimeout(None if give_up_at is None else max(1e-3, give_up_at - time.monotonic()))
        if not (read := self._end.recv_into(room)):
            raise EOFError("the other side has ended")
        return read


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} came where plain values are taken")


def _load_plain(body: bytearray) -> Any:
    return _PlainUnpickler(io.BytesIO(body)).load()
