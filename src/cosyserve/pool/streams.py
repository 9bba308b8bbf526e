"""The audio of running jobs on its way to their listeners, and the bound on how much of it is held.

A slow reader never holds a GPU stream: its audio waits here. All of it together stays within `max_buffered_bytes`;
above that, whoever is furthest behind is cut off.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from cosyserve.audio.formats import BYTES_PER_SAMPLE
from cosyserve.audio.pace import Pace
from cosyserve.errors import ListenerStalled, ServiceError

PIECE_BYTES = 48_000
"""What goes to a listener at once: a second of speech, so that the stall timeout means about the same for all."""


Taker = Callable[[bytes], bool]
"""Takes a piece at once, if it can, and answers whether it has. Must not raise."""


def declined(_: bytes) -> bool:
    """Takes nothing."""
    return False


def _nothing() -> None:
    pass


class BufferLedger:
    """The bytes that all streams hold together."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._streams: set[AudioStream] = set()

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._held_bytes

    def set_limit(self, limit_bytes: int) -> None:
        """What is held beyond it is dropped now."""
        self._limit_bytes = limit_bytes
        self._keep_within()

    def add(self, stream: "AudioStream", size: int) -> None:
        """`stream` holds `size` more bytes; negative when it gave some away."""
        self._held_bytes += size
        self._streams.add(stream) if stream.backlog_bytes else self._streams.discard(stream)
        self._keep_within()

    def _keep_within(self) -> None:
        while self._held_bytes > self._limit_bytes:
            max(self._streams, key=lambda held: held.backlog_bytes).cut_off(
                ListenerStalled("the audio held for slow readers reached server.max_buffered_bytes")
            )


class AudioStream:
    """One job's sink and its listener's source. Everything runs on the event loop.

    abandon: called when the listener is lost, so that the job stops.
    """

    def __init__(self, ledger: BufferLedger, abandon: Callable[[], None]) -> None:
        self.sample_rate = 0
        self.begun_at: float | None = None
        """When a worker last took the job, by time.monotonic(); None while none has."""
        self.pace = Pace(time.monotonic())
        self.backlog_bytes = 0
        self.interrupt: Callable[[], None] = _nothing
        """Called when the listener is cut off, to end a send that it blocks."""
        self._ledger = ledger
        self._abandon = abandon
        self._chunks: deque[memoryview] = deque()
        self._at_once: Taker = declined
        self._changed = asyncio.Event()
        self._taken = False
        self._ended = False
        self._error: ServiceError | None = None

    def begin(self, sample_rate: int) -> None:
        """Sink: a worker has the job."""
        self.sample_rate = sample_rate
        self.begun_at = time.monotonic()
        self.pace = Pace(self.begun_at)

    def feed(self, pcm: bytes) -> None:
        """Sink: more audio."""
        if self._ended or not pcm:
            return
        self.pace.feed(time.monotonic(), len(pcm) / BYTES_PER_SAMPLE / max(1, self.sample_rate))
        if not self._chunks and len(pcm) <= PIECE_BYTES and self._at_once(pcm):
            self._taken = True
            return
        self._chunks.append(memoryview(pcm))
        self._changed.set()
        self._hold(len(pcm))

    def rewind(self) -> bool:
        """Sink: forget what the listener has not taken, unless it has taken some."""
        if self._taken:
            return False
        self._drop()
        return True

    def end(self, error: ServiceError | None) -> None:
        """Sink: no more comes. What is held is still taken; then the error is raised."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._changed.set()

    @property
    def error(self) -> ServiceError | None:
        """Why the audio ended early."""
        return self._error

    async def take(self, at_once: Taker = declined) -> bytes | None:
        """Wait for what there is, up to PIECE_BYTES; None at the whole end. Raises what `end` was given.

        Small chunks that wait are taken as one: the more there is to do, the less each second of sound costs.
        at_once: called with a chunk as it comes, while nothing waits before it; what it takes wakes nobody.
        """
        if self._chunks:
            # Whoever never waits would keep a disconnect, and all other streams, from being noticed.
            await asyncio.sleep(0)
        while not self._chunks and not self._ended:
            await self._change(at_once)
        if self._chunks:
            self._taken = True
            pcm = self._join_chunks()
            self._hold(-len(pcm))
            return pcm
        if self._error is not None:
            raise self._error
        return None

    def cut_off(self, error: ServiceError) -> None:
        """The listener is too far behind: what it has not taken is dropped, and the job stops."""
        self.end(error)
        self._error = error
        self.close()
        self.interrupt()

    def close(self) -> None:
        """The listener is gone, or has all it wanted. Safe to call again."""
        self._ended = True
        self._drop()
        self._changed.set()
        # The way to the job, which holds a recording and this stream, is taken once: then nothing leads in a circle.
        abandon, self._abandon = self._abandon, _nothing
        abandon()

    async def _change(self, at_once: Taker) -> None:
        self._changed.clear()
        self._at_once = at_once
        try:
            await self._changed.wait()
        finally:
            self._at_once = declined

    def _join_chunks(self) -> bytes:
        pieces, room = [], PIECE_BYTES
        while self._chunks and room:
            chunk = self._chunks.popleft()
            if len(chunk) > room:
                self._chunks.appendleft(chunk[room:])
            pieces.append(chunk[:room])
            room -= len(pieces[-1])
        return b"".join(pieces)

    def _drop(self) -> None:
        self._chunks.clear()
        self._hold(-self.backlog_bytes)

    def _hold(self, size: int) -> None:
        self.backlog_bytes += size
        self._ledger.add(self, size)
