"""A request's trace: in its answer, in the lines of the log, in the worker, and in spans that a collector gets."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect as connect_websocket

from tests.http.wire import check_error
from tests.otlp import Collector, Seen
from tests.serving import Script, Server, wait_for

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
SENT = {"traceparent": PARENT, "tracestate": "vendor=1"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def seen(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that sends its spans there."""
    with Server(tmp_path_factory.mktemp("seen"), env=collector.env) as server:
        yield server


class TestUnseen:
    """Where no spans are wanted."""

    def test_what_was_sent_is_passed_on_as_it_is(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        answer = server.speak(headers={**SENT, "X-Request-Id": "traced"}, text=script.text)
        assert answer.headers["traceresponse"] == PARENT
        assert trace_in(script) == [PARENT, "vendor=1"]
        (line,) = wait_for(lambda: [line for line in server.logs("speech") if line["request_id"] == "traced"], "a line")
        assert line["trace_id"] == TRACE_ID

    def test_the_workers_lines_have_it_too(self, server: Server) -> None:
        server.announce("told to fail")
        check_error(server.speak(headers={"traceparent": PARENT}, text="fail=0"), 500, "synthesis_failed")
        lines = wait_for(lambda: server.logs("the engine failed"), "the worker's line")
        assert lines[-1]["trace_id"] == TRACE_ID

    @pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/audio/voices", "/nowhere", "/docs"])
    def test_every_route_answers_with_it(self, server: Server, path: str) -> None:
        assert server.get(path, headers=SENT).headers["traceresponse"] == PARENT

    @pytest.mark.parametrize("sent", [{}, {"traceparent": "00-junk", "tracestate": "vendor=1"}])
    def test_without_one_nothing_is_made_up(self, server: Server, tmp_path: Path, sent: dict[str, str]) -> None:
        script = Script(tmp_path)
        answer = server.speak(headers={**sent, "X-Request-Id": "untraced"}, text=script.text)
        assert (answer.status_code, answer.headers.get("traceresponse")) == (200, None)
        assert trace_in(script) is None

    def test_a_session(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        url = server.url.replace("http", "ws") + "/v1/audio/speech/stream"
        with connect_websocket(url, additional_headers=SENT, proxy=None) as session:
            assert session.response is not None
            assert session.response.headers["traceresponse"] == PARENT
            speak(session, script.text)
        assert trace_in(script) == [PARENT, "vendor=1"]


class TestSeen:
    """Where a collector is named."""

    def test_a_request_for_speech(self, seen: Server, collector: Collector, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=3)
        answer = seen.speak(headers={**SENT, "X-Request-Id": "whole"}, text=f"{script.text} shares=1", format="wav")
        spans = await_spans(collector, TRACE_ID, 5)
        request, speech, prompt = spans["POST /synthesize"], spans["speech"], spans["prompt"]
        assert request.parent == SPAN_ID
        assert request.state == "vendor=1"
        assert request.service == "cosyserve"
        assert answer.headers["traceresponse"] == f"00-{TRACE_ID}-{request.id}-01"
        assert {fact: request.facts[fact] for fact in ("http.route", "http.response.status_code")} == {
            "http.route": "/synthesize",
            "http.response.status_code": 200,
        }
        assert request.facts["cosyserve.request_id"] == "whole"
        assert {speech.parent, prompt.parent} == {request.id}
        assert {spans["queue"].parent, spans["first chunk"].parent} == {speech.id}
        assert (speech.facts["cosyserve.format"], speech.facts["cosyserve.audio_s"]) == ("wav", pytest.approx(0.3))
        assert trace_in(script) == [f"00-{TRACE_ID}-{speech.id}-01", "vendor=1"]
        # As it went: no part is outside of its whole, and the first chunk follows the wait in line.
        times = [(span.began_ns, span.ended_ns) for span in (request, prompt, spans["queue"], spans["first chunk"])]
        assert all(times[0][0] <= began <= ended <= times[0][1] for began, ended in times[1:])
        assert abs(times[3][0] - times[2][1]) < 1_000_000
        assert not any(span.failed for span in spans.values())

    def test_what_the_worker_took_is_told_by_stage(self, seen: Server, collector: Collector) -> None:
        answer = seen.speak(text="shares=0.25")
        speech = await_spans(collector, answer.headers["traceresponse"].split("-")[1], 5)["speech"]
        assert speech.facts["cosyserve.stage.decode_s"] == 0.25
        assert {"cosyserve.stage.first_chunk_s", "cosyserve.stage.total_s"} <= set(speech.facts)
        assert 'cosyserve_stage_seconds_count{stage="decode"}' in seen.get("/metrics").text

    def test_without_a_sender_a_trace_is_begun(self, seen: Server, collector: Collector) -> None:
        answer = seen.speak(headers={"traceparent": "junk"}, text="hello")
        version, trace_id, span_id, flags = answer.headers["traceresponse"].split("-")
        assert (version, flags) == ("00", "01")
        request = await_spans(collector, trace_id, 5)["POST /synthesize"]
        assert (request.id, request.parent) == (span_id, "")

    def test_a_sender_who_records_nothing_is_heeded(self, seen: Server, collector: Collector) -> None:
        unrecorded = f"00-{'1' * 32}-{SPAN_ID}-00"
        answer = seen.speak(headers={"traceparent": unrecorded}, text="hello")
        assert answer.headers["traceresponse"].startswith(f"00-{'1' * 32}-")
        assert answer.headers["traceresponse"].endswith("-00")
        recorded = seen.speak(text="hello").headers["traceresponse"].split("-")[1]
        await_spans(collector, recorded, 5)
        assert collector.spans("1" * 32) == []

    def test_what_fails(self, seen: Server, collector: Collector) -> None:
        seen.announce("told to fail")
        failed = seen.speak(text="fail=0").headers["traceresponse"].split("-")[1]
        spans = await_spans(collector, failed, 4)
        assert (spans["speech"].failed, spans["speech"].facts["error.type"]) == (True, "synthesis_failed")
        assert spans["POST /synthesize"].failed
        refused = seen.speak(text="").headers["traceresponse"].split("-")[1]
        spans = await_spans(collector, refused, 2)
        assert spans["prompt"].failed
        # The client's mistake is no fault of the server's.
        assert not spans["POST /synthesize"].failed
        assert spans["POST /synthesize"].facts["cosyserve.code"] == "invalid_field"

    def test_a_session_has_a_span_for_each_clause(self, seen: Server, collector: Collector) -> None:
        trace = f"{'2' * 32}"
        url = seen.url.replace("http", "ws") + "/v1/audio/speech/stream"
        headers = {"traceparent": f"00-{trace}-{SPAN_ID}-01"}
        with connect_websocket(url, additional_headers=headers, proxy=None) as session:
            speak(session, "chunks=1")
            speak(session, "chunks=1")
        wait_for(lambda: [span for span in collector.spans(trace) if span.parent == SPAN_ID], "the session's span")
        names = sorted(span.name for span in collector.spans(trace))
        assert names == sorted(["GET /v1/audio/speech/stream", "prompt", *2 * ["speech", "queue", "first chunk"]])

    def test_what_machines_ask_every_few_seconds_is_left_out(self, seen: Server, collector: Collector) -> None:
        assert seen.get("/health").status_code == 200
        trace = seen.get("/v1/models").headers["traceresponse"].split("-")[1]
        await_spans(collector, trace, 1)
        assert not [span for span in collector.spans() if "health" in span.name]

    def test_the_last_ones_are_sent_at_the_end(self, collector: Collector, tmp_path: Path) -> None:
        env = {**collector.env, "OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_SERVICE_NAME": "speech-2"}
        with Server(tmp_path, env=env) as server:
            trace = server.speak(text="hello").headers["traceresponse"].split("-")[1]
            server.terminate()
            assert server.wait_exit() == 0
        assert {span.service for span in collector.spans(trace)} == {"speech-2"}


def trace_in(script: Script) -> list[str] | None:
    """What the engine saw of it."""
    (line,) = (event for event in script.events() if event.startswith("request "))
    trace: list[str] | None = json.loads(line.removeprefix("request "))["trace"]
    return trace


def await_spans(collector: Collector, trace: str, count: int) -> dict[str, Seen]:
    """By name."""
    found = wait_for(lambda: spans if len(spans := collector.spans(trace)) >= count else [], f"{count} spans")
    assert len(found) == count, [span.name for span in found]
    return {span.name: span for span in found}


def speak(session: object, text: str) -> None:
    """An utterance, to its end."""
    session.send(json.dumps({"type": "input.text", "text": text}))  # type: ignore[attr-defined]
    session.send('{"type": "input.done"}')  # type: ignore[attr-defined]
    while True:
        message = session.recv(60)  # type: ignore[attr-defined]
        if isinstance(message, str) and json.loads(message)["type"] == "session.done":
            return
