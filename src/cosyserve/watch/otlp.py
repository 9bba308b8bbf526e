"""Spans by OpenTelemetry, sent over OTLP: what the extra `otel` brings, imported where the environment asks for it.

The standard variables (OTEL_...) say where to, how much, and under which name.
"""

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from cosyserve import __version__
from cosyserve.check.remedies import install
from cosyserve.protocol import Trace
from cosyserve.watch.spans import Facts, NoSpans, Span, Spans

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"
LAST_WORDS_S = 2.0
"""How long a collector may take over what is left at the end."""
SERVICE = "cosyserve"

log = structlog.get_logger(__name__)


def spans_of(environ: Mapping[str, str]) -> Spans:
    """Where no endpoint is named, none are made. What cannot be done is told in the log, and stops nothing."""
    if not (endpoint := wanted_endpoint(environ)):
        return NoSpans()
    if lack := lack_of_spans(environ):
        log.warning(f"no spans are sent: {lack}")
        return NoSpans()
    spans = OtlpSpans()
    log.info("spans are sent", endpoint=endpoint)
    return spans


def wanted_endpoint(environ: Mapping[str, str]) -> str:
    """Where spans are to be sent; "" where nowhere."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    if environ.get("OTEL_TRACES_EXPORTER", "").strip() not in {"", "otlp"}:
        return ""
    return next((environ[name] for name in ENDPOINTS if environ.get(name)), "")


def lack_of_spans(environ: Mapping[str, str]) -> str:
    """Why spans that are wanted cannot be sent, and what to do; "" where they can."""
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), SPOKEN)
    if protocol != SPOKEN:
        return f"{protocol} is not spoken; set {PROTOCOLS[1]}={SPOKEN} and the endpoint to that port, most often 4318"
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError as error:
        return f"the package {error.name} is missing; {install('otel')}"
    return ""


class OtlpSpans:
    """Sends spans in batches, on a thread of its own; those that find no place in its queue are dropped."""

    def __init__(self) -> None:
        self._provider = _provider()
        self._tracer = self._provider.get_tracer(SERVICE, __version__)

    def begin(self, sent: Trace | None) -> Span:
        """A request has come."""
        from opentelemetry.trace import SpanKind

        # All of a request by one clock: what is inside of another stays so, whatever the system's clock does meanwhile.
        began_ns = time.time_ns()
        epoch_ns = began_ns - _ns(time.monotonic())
        span = self._tracer.start_span("request", _context(sent), kind=SpanKind.SERVER, start_time=began_ns)
        return OtlpSpan(self._tracer, span, epoch_ns)

    def close(self) -> None:
        """Send what is left."""
        # The interpreter does not wait for a daemon.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(LAST_WORDS_S)


class OtlpSpan:
    """One that is being recorded, or left out by the sampler; its trace is passed on in either case.

    epoch_ns: when time.monotonic() was 0, by the time of the day.
    """

    def __init__(self, tracer: Any, span: Any, epoch_ns: int) -> None:
        self._tracer = tracer
        self._span = span
        self._epoch_ns = epoch_ns
        self.trace: Trace | None = _passed_on(span)

    def child(self, name: str) -> "OtlpSpan":
        """A part of it begins."""
        return OtlpSpan(self._tracer, self._part(name, time.monotonic()), self._epoch_ns)

    def past(self, name: str, began_at: float, ended_at: float) -> None:
        """A part of it is over."""
        self._part(name, began_at).end(self._unix_ns(ended_at))

    def end(self, facts: Facts, error: str | None = None, name: str | None = None) -> None:
        """It is over."""
        from opentelemetry.trace import StatusCode

        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes({fact: value for fact, value in facts.items() if value is not None})
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end(self._unix_ns(time.monotonic()))

    def _part(self, name: str, began_at: float) -> Any:
        from opentelemetry.trace import set_span_in_context

        return self._tracer.start_span(name, set_span_in_context(self._span), start_time=self._unix_ns(began_at))

    def _unix_ns(self, monotonic_s: float) -> int:
        return self._epoch_ns + _ns(monotonic_s)


def _provider() -> "TracerProvider":
    """The sampler, the endpoint, the batches and the attributes are the environment's."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({SERVICE_VERSION: __version__})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _context(sent: Trace | None) -> "Context":
    """What a span begins in: the sender's, or nothing, so that it begins a trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

    if sent is None:
        return Context()
    _, trace_id, span_id, flags = sent.parent.split("-")
    state = TraceState.from_header([sent.state])
    remote = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)), trace_state=state
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _passed_on(span: Any) -> Trace:
    """As headers."""
    of = span.get_span_context()
    return Trace(f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags & 1:02x}", of.trace_state.to_header())


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
