"""Where a request is seen: what is taken of its headers, as W3C's Trace Context has it."""

import os
import sys
import threading

import pytest
from starlette.datastructures import Headers

from cosyserve.protocol import Trace
from cosyserve.watch.otlp import OtlpSpan, lack_of_spans, spans_of, wanted_endpoint
from cosyserve.watch.spans import NoSpans, sent_trace
from tests.serving import wait_for

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def sent(*headers: tuple[str, str]) -> Trace | None:
    return sent_trace(Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in headers]))


class TestTaken:
    @pytest.mark.parametrize(
        ("parent", "kept"),
        [
            (PARENT, PARENT),
            (f"00-{TRACE_ID}-{SPAN_ID}-00", f"00-{TRACE_ID}-{SPAN_ID}-00"),
            (f" {PARENT} ", PARENT),
            (f"cc-{TRACE_ID}-{SPAN_ID}-01", PARENT),
            (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-will-be-like", PARENT),
        ],
    )
    def test_what_is_valid(self, parent: str, kept: str) -> None:
        trace = sent(("traceparent", parent))
        assert trace is not None
        assert (trace.parent, trace.id, trace.state) == (kept, TRACE_ID, "")

    @pytest.mark.parametrize(
        "parent",
        [
            "",
            "00",
            "hello",
            f"ff-{TRACE_ID}-{SPAN_ID}-01",
            f"0-{TRACE_ID}-{SPAN_ID}-01",
            f"00-{'0' * 32}-{SPAN_ID}-01",
            f"00-{TRACE_ID}-{'0' * 16}-01",
            f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
            f"00-{TRACE_ID}-{SPAN_ID}-1",
            f"00-{TRACE_ID[1:]}-{SPAN_ID}-01",
            f"00-{TRACE_ID}-{SPAN_ID}-01-more",
            f"cc-{TRACE_ID}-{SPAN_ID}-01more",
            f"00-{TRACE_ID}-{SPAN_ID}-0x",
            f"{PARENT}é",
            "x" * 10_000,
        ],
    )
    def test_what_is_not_is_as_if_nothing_were_sent(self, parent: str) -> None:
        assert sent(("traceparent", parent), ("tracestate", "a=1")) is None

    def test_two_of_them_say_nothing(self) -> None:
        assert sent(("traceparent", PARENT), ("traceparent", PARENT)) is None

    def test_the_state_goes_along(self) -> None:
        assert sent(("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")) == Trace(PARENT, "a=1,b=2")
        assert sent(("tracestate", "a=1")) is None

    @pytest.mark.parametrize("state", ["a=1," * 200, "a=\x01"])
    def test_a_state_that_is_too_long_or_none_is_left_out(self, state: str) -> None:
        assert sent(("traceparent", PARENT), ("tracestate", state)) == Trace(PARENT)


class TestWanted:
    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"OTEL_SERVICE_NAME": "speech"},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
            {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
            {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        ],
    )
    def test_nowhere(self, environ: dict[str, str]) -> None:
        assert wanted_endpoint(environ) == ""
        assert isinstance(spans_of(environ), NoSpans)

    def test_somewhere(self) -> None:
        assert wanted_endpoint(ENDPOINT) == "http://127.0.0.1:4318"
        of_traces = {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces/v1/traces"}
        assert wanted_endpoint(of_traces) == "http://traces/v1/traces"
        assert lack_of_spans(ENDPOINT) == ""

    def test_another_protocol_stops_nothing(self) -> None:
        environ = {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in lack_of_spans(environ)
        assert isinstance(spans_of(environ), NoSpans)

    def test_nor_does_a_package_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
        assert "[otel]" in lack_of_spans(ENDPOINT)
        assert isinstance(spans_of(ENDPOINT), NoSpans)


def test_a_collector_that_is_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    before = threading.enumerate()
    spans = spans_of(os.environ)
    span = spans.begin(Trace(PARENT))
    assert isinstance(span, OtlpSpan)
    assert span.trace is not None
    assert span.trace.id == TRACE_ID
    span.child("part").end({})
    span.end({"nothing": None}, "broken")
    spans.close()
    # It tries again at random times, which tests after this one would take for a use of theirs.
    wait_for(lambda: set(threading.enumerate()) <= set(before), "nothing to be left of it")
