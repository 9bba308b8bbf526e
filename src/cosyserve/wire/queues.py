"""Bounded message queues over one-way multiprocessing pipes, one thread an end.

Not `multiprocessing.Queue`: a process killed inside its `get()` keeps the queue's lock for ever, a message torn by a
kill blocks the reader past its timeout, and the feeder thread holds up shutdown. Here nothing is shared: where the
peer dies, at any byte of any message, the other end sees the pipe close.

Contract: one `Outbox` writes a pipe, one `Inbox` reads it (or the event loop, by `pool/results.py`), and each process
holds its own end alone.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

log = logging.getLogger(__name__)


class QueueClosed(Exception):
    """The peer is gone, or the queue was closed on this side: the message was not taken."""


class QueueFull(Exception):
    """The peer does not read as fast as messages come: the message was not taken."""


class Outbox:
    """Takes up to `depth` messages that a thread sends in order.

    together: how many that wait are sent as one, a list: the more there is to do, the less each of them costs.
    """

    def __init__(self, connection: Connection, depth: int, name: str, together: int = 1) -> None:
        self._connection = connection
        self._depth = depth
        self._together = together
        self._waiting: deque[Any] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._send_all, name=name, daemon=True)
        self._thread.start()

    def put(self, message: object) -> None:
        """Wait for room. Raises QueueClosed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or len(self._waiting) < self._depth)
            self._append(message)

    def put_nowait(self, message: object) -> None:
        """Raises QueueFull, QueueClosed."""
        with self._changed:
            if len(self._waiting) >= self._depth and not self._closing:
                raise QueueFull
            self._append(message)

    def close(self) -> None:
        """Take nothing more; what was taken is still sent, then the pipe closes."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait until all is sent and the pipe closed. Returns whether it is."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _append(self, message: object) -> None:
        if self._closing:
            raise QueueClosed
        self._waiting.append(message)
        self._changed.notify_all()

    def _send_all(self) -> None:
        with self._connection as connection:
            while messages := self._next():
                try:
                    connection.send(messages if len(messages) > 1 else messages[0])
                except OSError:
                    break
                except Exception:
                    if len(messages) > 1:
                        self._put_back(messages)
                        continue
                    log.exception("a message cannot be sent, and so none after it")
                    break
        self.close()

    def _next(self) -> list[object]:
        """What is sent at once; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or bool(self._waiting))
            messages = [self._waiting.popleft() for _ in range(min(self._together, len(self._waiting)))]
            self._changed.notify_all()
            return messages

    def _put_back(self, messages: list[object]) -> None:
        """One of them cannot be sent: from now on each goes alone, so that those before it arrive."""
        with self._changed:
            self._together = 1
            self._waiting.extendleft(reversed(messages))


class Inbox:
    """A thread that hands each message to `deliver`, then calls `closed` once when the pipe has ended."""

    def __init__(
        self,
        connection: Connection,
        deliver: Callable[[Any], None],
        closed: Callable[[], None],
        name: str,
    ) -> None:
        self._connection = connection
        self._deliver = deliver
        self._closed = closed
        self._thread = threading.Thread(target=self._receive_all, name=name, daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until the pipe has ended. Returns whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _receive_all(self) -> None:
        try:
            with self._connection as connection:
                while (message := _received(connection)) is not None:
                    self._deliver(message)
        except Exception:
            log.exception("a message cannot be read or delivered: its sender counts as lost")
        finally:
            self._closed()


def _received(connection: Connection) -> object | None:
    """The next message; None where the pipe has ended."""
    try:
        message: object = connection.recv()
    except (EOFError, OSError):
        return None
    return message
