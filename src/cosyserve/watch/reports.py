"""What becomes of a request for speech: what its line in the log has, and its share of the metrics."""

import time
from dataclasses import dataclass

import structlog
from starlette.types import Scope

from cosyserve.audio.formats import BYTES_PER_SAMPLE
from cosyserve.errors import ServiceError
from cosyserve.pool.seam import Ticket
from cosyserve.pool.streams import AudioStream
from cosyserve.speech.requests import SpeechRequest
from cosyserve.watch.lines import RequestLine, route_of
from cosyserve.watch.metrics import Metrics

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

    def begin(self, origin: Origin, speech: SpeechRequest, ticket: Ticket, stream: AudioStream) -> "Report":
        """It was admitted just now."""
        return Report(self, origin, speech, ticket, stream)


class Report:
    """One admitted request's."""

    def __init__(
        self, reporter: Reporter, origin: Origin, speech: SpeechRequest, ticket: Ticket, stream: AudioStream
    ) -> None:
        self._reporter = reporter
        self._origin = origin
        self._speech = speech
        self._ticket = ticket
        self._stream = stream
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
