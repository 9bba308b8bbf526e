"""Clauses to audio, in order: the next one is being made while the former is on its way to the client."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import anyio
import structlog

from cosyserve.audio.encoding import encoding
from cosyserve.audio.formats import output_rate
from cosyserve.errors import ListenerError, ListenerGone, ServiceError, SynthesisFailed
from cosyserve.live.messages import Message
from cosyserve.live.outlet import Outlet
from cosyserve.live.session import Clause
from cosyserve.pool.seam import Admitted, SpeechPool
from cosyserve.pool.streams import AudioStream
from cosyserve.speech.requests import SpeechRequest
from cosyserve.watch.reports import SPEECH, Origin, Report, Reporter
from cosyserve.watch.spans import current

AHEAD = 2
"""Streams that one session may use at once; the second only where nobody else would wait for it."""

log = structlog.get_logger(__name__)


class Audience(Protocol):
    """Who is told what becomes of a clause."""

    async def started(self, clause: Clause, description: Message) -> None:
        """Frames follow."""

    async def spoken(self, clause: Clause, audio_s: float) -> None:
        """All of them have been sent."""

    async def failed(self, clause: Clause, error: ServiceError) -> None:
        """There will be no more of them. May stop the speaker."""


@dataclass(eq=False, slots=True)
class _Turn:
    """A clause in line. admitted, report: None while it has no place in the pool; refusal: why it gets none."""

    clause: Clause
    speech: SpeechRequest
    admitted: Admitted | None = None
    report: Report | None = None
    refusal: ServiceError | None = None
    over: bool = False


class Speaker:
    """One a session. Everything but `run` takes effect at once."""

    def __init__(
        self, pool: SpeechPool, reporter: Reporter, origin: Origin, outlet: Outlet, audience: Audience
    ) -> None:
        self._pool = pool
        self._reporter = reporter
        self._origin = origin
        self._outlet = outlet
        self._audience = audience
        self._turns: deque[_Turn] = deque()
        self._changed = asyncio.Event()
        self._silent = asyncio.Event()
        self._silent.set()
        self._speaking = anyio.CancelScope()
        self.quiet_since = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether there is anything left to speak."""
        return bool(self._turns)

    def say(self, clause: Clause, speech: SpeechRequest) -> None:
        """Speak it after what was asked for before."""
        self._turns.append(_Turn(clause, speech))
        self._silent.clear()
        self._submit_ahead()
        self._changed.set()

    def stop(self, reason: ListenerError) -> None:
        """Free the streams, and forget what waits; audio that is on its way to the outlet does not get there."""
        for turn in self._turns:
            self._end(turn, reason)
        self._turns.clear()
        self._speaking.cancel()
        self._fall_silent()

    async def silence(self) -> None:
        """Wait until there is nothing left to speak."""
        await self._silent.wait()

    async def run(self) -> None:
        """Speak whatever comes, until cancelled. Raises ListenerError."""
        try:
            while True:
                self._changed.clear()
                if self._turns:
                    await self._take_turn(self._turns[0])
                else:
                    await self._changed.wait()
        finally:
            self.stop(ListenerGone("the client disconnected"))

    async def _take_turn(self, turn: _Turn) -> None:
        self._submit_ahead()
        error = turn.refusal
        with anyio.CancelScope() as self._speaking:
            if turn.admitted is not None:
                error = await self._speak(turn, turn.admitted)
        if turn.over:
            return
        audio_s = turn.report.audio_s if turn.report else 0.0
        self._turns.popleft()
        self._end(turn, error)
        self._submit_ahead()
        if isinstance(error, ListenerError):
            raise error
        if error is None:
            await self._audience.spoken(turn.clause, audio_s)
        else:
            await self._audience.failed(turn.clause, error)
        if not self._turns:
            self._fall_silent()

    def _fall_silent(self) -> None:
        self.quiet_since = time.monotonic()
        self._silent.set()

    async def _speak(self, turn: _Turn, admitted: Admitted) -> ServiceError | None:
        """Returns what goes wrong."""
        try:
            await self._stream(turn, admitted.stream, admitted.ticket.seed)
        except ServiceError as error:
            return error
        except Exception:
            log.exception("encoding failed")
            return SynthesisFailed("encoding failed")
        return None

    async def _stream(self, turn: _Turn, stream: AudioStream, seed: int) -> None:
        assert turn.report is not None
        pcm = await stream.take()
        if pcm is None:
            raise SynthesisFailed("the engine made no audio of this text")
        speech = turn.speech
        rate = output_rate(speech.format, stream.sample_rate, speech.sample_rate)
        description: Message = {"format": speech.format, "sample_rate": rate, "channels": 1, "seed": seed}
        async with encoding(speech.format, stream.sample_rate, rate) as encoder:
            await self._audience.started(turn.clause, description)
            while pcm is not None:
                turn.report.took(pcm)
                await self._outlet.audio(await encoder.encode(pcm), lambda: not turn.over)
                self._submit_ahead()
                pcm = await stream.take()
            await self._outlet.audio(await encoder.finish(), lambda: not turn.over)

    def _submit_ahead(self) -> None:
        for place, turn in enumerate(islice(self._turns, AHEAD)):
            if turn.admitted is None and (place == 0 or self._pool.has_room):
                self._submit(turn)

    def _submit(self, turn: _Turn) -> None:
        span = current().child(SPEECH)
        try:
            turn.admitted = self._pool.submit(turn.speech, span.trace)
        except ServiceError as refusal:
            span.end({}, refusal.code)
            # One that is ahead of its turn is tried again when it is due.
            if turn is self._turns[0] and turn.refusal is None:
                turn.refusal = refusal
                self._reporter.refused(self._origin, turn.speech, refusal)
            return
        turn.refusal = None
        turn.report = self._reporter.begin(self._origin, turn.speech, turn.admitted, span)

    def _end(self, turn: _Turn, error: ServiceError | None) -> None:
        turn.over = True
        if turn.admitted is not None and turn.report is not None:
            turn.admitted.stream.close()
            turn.report.clause_ended(error)
