"""What becomes of a request for speech: what its line in the log has, and its share of the metrics."""

import time
from dataclasses import dataclass

import structlog
from starlette.types import Scope

from cosyserve.audio.formats import BYTES_PER_SAMPLE
from cosyserve.errors import ServiceError
from cosyserve.pool.seam import Admitted
from cosyserve.speech.requests import SpeechRequest
from cosyserve.watch.lines import RequestLine, route_of
from cosyserve.watch.metrics import Metrics
from cosyserve.watch.spans import Span

SPEECH, QUEUE, FIRST_CHUNK = "speech", "queue", "first chunk"
"""The spans of a request for speech and of its parts."""

log = structlog.get_logger("cosyserve.speech")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came in. route: its path as the routing table has it. key_name: of its API key, if it has one.

    peer: the client's address.
    """

    route: str
    key_name: str | None = None
    peer: str | None = None

    @classmethod
    def of(cls, scope: Scope) -> "Origin":
        """Of a routed request or session."""
        return cls(route_of(scope), scope.get("state", {}).get("key_name"), RequestLine.of(scope).peer)


class Reporter:
    """One a service. log_text: whether the line in the log has the text."""

    def __init__(self, metrics: Metrics, *, log_text: bool) -> None:
        self.metrics = metrics
        self.log_text = log_text

    def refused(self, origin: Origin, speech: SpeechRequest, error: ServiceError) -> None:
        """The pool did not admit it: the answer says so, and the metrics."""
        self.metrics.requests.labels(origin.route, speech.mode, speech.format, error.code).inc()

    def begin(self, origin: Origin, speech: SpeechRequest, admitted: Admitted, span: Span) -> "Report":
        """It was admitted just now. span: its own."""
        return Report(self, origin, speech, admitted, span)


class Report:
    """One admitted request's."""

    def __init__(
        self, reporter: Reporter, origin: Origin, speech: SpeechRequest, admitted: Admitted, span: Span
    ) -> None:
        self._reporter = reporter
        self._origin = origin
        self._speech = speech
        self._ticket, self._stream = admitted
        self._span = span
        self._started_at = time.monotonic()
        self._audio_bytes = 0
        self.whole = False
        """Whether all of the audio is on its way to the listener; what happens afterwards is no failure."""

    @property
    def audio_s(self) -> float:
        """Seconds of audio that were taken for the listener."""
        rate = self._stream.sample_rate
        return self._audio_bytes / BYTES_PER_SAMPLE / rate if rate else 0.0

    @property
    def first_chunk_s(self) -> float | None:
        """From the admission to the first audio; None while there is none."""
        first_at = self._stream.pace.first_at
        return None if first_at is None else first_at - self._started_at

    def took(self, pcm: bytes) -> None:
        """A piece of audio is on its way to the listener."""
        self._audio_bytes += len(pcm)

    def ended(self, error: ServiceError | None) -> dict[str, object]:
        """It is over: whole, or for `error`. Returns what its line in the log says of the speech."""
        total_s = time.monotonic() - self._started_at
        outcome = "ok" if error is None else error.code
        self._count(total_s, outcome)
        self._end_span(error)
        speech, pace = self._speech, self._stream.pace
        return {
            "job": self._ticket.id,
            "mode": speech.mode,
            "voice": speech.voice or None,
            "format": speech.format,
            "text_chars": len(speech.text),
            "queue_wait_s": round(self._ticket.queue_wait_s, 3),
            "first_chunk_s": _rounded(self.first_chunk_s),
            "total_s": round(total_s, 3),
            "audio_s": round(self.audio_s, 3),
            "real_time_factor": _rounded(pace.real_time_factor),
            "underruns": pace.underruns,
            "outcome": outcome,
            "reason": None if error is None else error.message,
            **({"text": speech.text} if self._reporter.log_text else {}),
        }

    def clause_ended(self, error: ServiceError | None) -> None:
        """The same for a clause of a session, which has a line of its own."""
        origin = self._origin
        log.info("speech", route=origin.route, key=origin.key_name, peer=origin.peer, **self.ended(error))

    def _end_span(self, error: ServiceError | None) -> None:
        """With its wait in line, its first chunk, and its share of the worker's time by stage."""
        speech, pace, begun_at = self._speech, self._stream.pace, self._stream.begun_at
        # A job that need not wait is begun before there is a report of it.
        waited_until = time.monotonic() if begun_at is None else begun_at
        self._span.past(QUEUE, min(self._started_at, waited_until), waited_until)
        if begun_at is not None and pace.first_at is not None:
            self._span.past(FIRST_CHUNK, begun_at, pace.first_at)
        facts = {
            "cosyserve.job": self._ticket.id,
            "cosyserve.mode": speech.mode.value,
            "cosyserve.voice": speech.voice or None,
            "cosyserve.format": speech.format.value,
            "cosyserve.text_chars": len(speech.text),
            "cosyserve.audio_s": self.audio_s,
            "cosyserve.underruns": pace.underruns,
            **{f"cosyserve.stage.{stage}_s": seconds for stage, seconds in self._ticket.timings.items()},
        }
        self._span.end(facts, None if error is None else error.code)

    def _count(self, total_s: float, outcome: str) -> None:
        metrics, pace = self._reporter.metrics, self._stream.pace
        route, mode, audio_format = self._origin.route, self._speech.mode, self._speech.format
        metrics.requests.labels(route, mode, audio_format, outcome).inc()
        metrics.total.labels(route).observe(total_s)
        metrics.underruns.labels(route).inc(pace.underruns)
        metrics.underrun_seconds.labels(route).inc(pace.stalled_s)
        metrics.audio_seconds.labels(route, audio_format).inc(self.audio_s)
        metrics.stages(self._ticket.timings)
        if self._stream.sample_rate:
            metrics.queue_wait.labels(route).observe(self._ticket.queue_wait_s)
        if self.first_chunk_s is not None:
            metrics.first_chunk.labels(route, mode).observe(self.first_chunk_s)
        if pace.real_time_factor is not None:
            metrics.real_time_factor.labels(route, mode).observe(pace.real_time_factor)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
