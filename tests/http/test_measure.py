"""`cosyserve measure` beside what the service counts, and beside a client that has nothing of it."""

import contextlib
import http.client
import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

from cosyserve.client.measure.counters import REQUESTS
from cosyserve.client.measure.plan import KNOWN, LENGTHS, WARM, Stage, plan
from cosyserve.client.measure.record import Outcome, StageReport
from tests.http.metering import read
from tests.http.wire import connect, speech
from tests.measuring import WITHIN, Measurement, check_against_counts
from tests.serving import Script, Server, wait_for

pytestmark = pytest.mark.timeout(300)

Measure = Callable[..., Measurement]


def ask(server: Server, fields: Mapping[str, object]) -> tuple[float, int]:
    """Seconds from the request's last byte sent to the first of the answer's body, and the bytes of that."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.connect()
    connection.request("POST", "/synthesize", urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"})
    sent_at = time.perf_counter()
    answer = connection.getresponse()
    assert answer.status == 200
    first = answer.read(1)
    first_s = time.perf_counter() - sent_at
    size = len(first) + len(answer.read())
    connection.close()
    return first_s, size


def listen(server: Server, stage: Stage, count: int) -> list[tuple[float, int]]:
    """The stage's first requests, by as many clients as it has."""
    said = [{"text": one.text, "seed": one.seed} for one in stage.asks[:count]]
    with ThreadPoolExecutor(stage.clients) as clients:
        return list(clients.map(lambda fields: ask(server, fields), said))


def by_id(lines: list[dict[str, object]]) -> dict[str, float]:
    """The service's own first-chunk latencies, by the request's id."""
    heard = [line for line in lines if line["first_chunk_s"] is not None]
    return {str(line["request_id"]): float(str(line["first_chunk_s"])) for line in heard}


def lag_s(stage: StageReport, own: Mapping[str, float]) -> float:
    """By how much the client's figure is greater than the service's own, of half the requests."""
    return statistics.median(run.first_s - own[run.request_id] for run in stage.runs if run.first_s is not None)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("espeakng_loader", reason="the engine demo is not installed")
    settings = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": "asset/zero_shot_prompt.wav"}}
    with Server(tmp_path_factory.mktemp("measured"), settings) as server:
        yield server


@pytest.fixture
def measure(tmp_path: Path) -> Iterator[Measure]:
    """Begins a measurement that writes here; arguments as `Measurement` takes them."""
    with contextlib.ExitStack() as begun:
        yield lambda *arguments, **options: begun.enter_context(Measurement(tmp_path, *arguments, **options))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("locked"), {"server": {"api_keys": ["dont-tell"]}}) as server:
        yield server


def test_the_demo_engine(demo: Server, measure: Measure) -> None:
    status, stdout, stderr = (measured := measure("--url", demo.url, "--clients", "3", "1")).finish()
    assert status == 0, stderr
    assert "audio seconds per second" in stdout
    report = measured.report
    stages = {stage.name: stage for stage in report.stages}
    assert list(stages) == [
        *(WARM, LENGTHS, "1 client, known voice", "3 clients, known voice"),
        *("1 client, new voices", "3 clients, new voices"),
    ]
    for stage in stages.values():
        assert stage.whole == stage.planned == len({run.request_id for run in stage.runs})
        assert stage.first
        assert 0 < stage.first.p50 <= stage.first.p95 <= stage.first.worst
        assert stage.client_busy > 0
    check_against_counts(report)
    assert read(demo, REQUESTS) == sum(stage.whole for stage in stages.values())
    assert len({run.text_chars for run in stages[LENGTHS].runs}) > 30
    assert report.said == [
        "cold: left out, the service was not started here and has been asked before",
        "kill of a worker: left out, the service was not started here",
    ]
    # The same requests by another client: the same sound.
    known = next(stage for stage in plan([3], cold=0) if stage.clients == 3 and stage.voice == KNOWN)
    sizes = sorted(size for _, size in listen(demo, known, 5))
    (mine,) = [stage for stage in measured.report.stages if stage.name == known.name]
    assert len(mine.runs) == len(known.asks)
    assert all(size in [run.audio_bytes for run in mine.runs] for size in sizes)


@pytest.mark.full
def test_first_audio_is_what_the_service_and_another_client_say(tmp_path: Path, measure: Measure) -> None:
    """The engine takes three seconds for it, so that a twentieth is more than what a machine adds at random."""
    with Server(tmp_path, {"model": {"engine": "tests.engines:Late"}}) as server:
        measured = measure("--url", server.url, "--clients", "4", "--minutes", "0.7")
        status, _, stderr = measured.finish()
        assert status == 0, stderr
        report = measured.report
        check_against_counts(report)
        known = next(stage for stage in plan([4], cold=0) if stage.clients == 4 and stage.voice == KNOWN)
        (mine,) = [stage for stage in report.stages if stage.name == known.name]
        assert mine.first
        own = by_id(server.logs("speech"))
        assert lag_s(mine, own) <= WITHIN * mine.first.p50
        another = statistics.median(first_s for first_s, _ in listen(server, known, len(mine.runs)))
        assert mine.first.p50 == pytest.approx(another, rel=WITHIN)
        # The time was short, and the report says at what.
        assert any(line.startswith(f"{LENGTHS}: ") and "of 100 requests" in line for line in report.said)


def test_a_service_without_room_is_counted(tmp_path: Path, measure: Measure) -> None:
    script = Script(tmp_path, at=1)
    with Server(tmp_path, {"limits": {"max_concurrency": 1, "max_waiting": 0}}) as server:
        with connect(server) as holder:
            holder.sendall(speech(script.text))
            script.await_event("gate")
            measured = measure("--url", server.url, "--clients", "2", "--minutes", "0.05")
            status, _, stderr = measured.finish()
        assert status == 0, stderr
        report = measured.report
        assert [stage.whole for stage in report.stages] == [0] * len(report.stages)
        # On a busy machine a stage's time may be over before its first request.
        assert any(stage.runs for stage in report.stages)
        assert all(stage.refused == ({"overloaded": len(stage.runs)} if stage.runs else {}) for stage in report.stages)
        assert report.stages[0].first is None
        assert "overloaded" in measured.base.with_suffix(".md").read_text("utf-8")


def test_what_fails_is_told_and_ends_in_status_1(tmp_path: Path, measure: Measure) -> None:
    with Server(tmp_path, {"model": {"engine": "tests.engines:FailsEveryJob"}}, await_health="ok") as server:
        server.announce("this engine fails every job")
        server.announce("the self-test fails")
        measured = measure("--url", server.url, "--minutes", "0.1")
        status, _, stderr = measured.finish()
    assert status == 1
    assert "requests failed with" in stderr
    assert "Traceback" not in stderr
    (stage,) = measured.report.stages
    assert sum(stage.failed.values()) + sum(stage.refused.values()) == len(stage.runs)
    assert any("nothing was answered in the stage before" in line for line in measured.report.said)


class TestKeys:
    def test_one_that_is_needed(self, locked: Server, measure: Measure) -> None:
        status, _, stderr = measure("--url", locked.url).finish()
        assert (status, stderr.count("\n")) == (1, 1)
        assert "COSYSERVE_API_KEY" in stderr
        more = ("--clients", "1", "--minutes", "0.05")
        measured = measure("--url", locked.url, *more, env={"COSYSERVE_API_KEY": "dont-tell"})
        status, _, stderr = measured.finish()
        assert status == 0, stderr
        assert measured.report.stages[0].whole

    def test_is_in_no_report(self, locked: Server, measure: Measure) -> None:
        more = ("--clients", "1", "--minutes", "0.05", "--api-key", "dont-tell", "--json")
        measured = measure("--url", locked.url, *more)
        status, stdout, stderr = measured.finish()
        assert status == 0, stderr
        assert json.loads(stdout)["stages"]
        written = [measured.base.with_suffix(suffix).read_text("utf-8") for suffix in (".md", ".html", ".json")]
        assert not any("dont-tell" in text for text in [*written, stdout])


SETTINGS = """
[server]
api_keys = ["the operator's own"]
[model]
engine = "tests.engines:create"
[defaults]
prompt_wav = "{prompt}"
[log]
level = "warning"
"""


@pytest.fixture
def settings(tmp_path: Path) -> str:
    from tests import sounds

    (tmp_path / "prompt.wav").write_bytes(sounds.prompt())
    return SETTINGS.replace("{prompt}", str(tmp_path / "prompt.wav"))


class TestOwnService:
    def test_is_measured_killed_and_ended(self, tmp_path: Path, measure: Measure, settings: str) -> None:
        """Though it wants a key that nobody here knows, and its log would not say where it listens."""
        measured = measure("--clients", "2", "--minutes", "2", "--workers", "2", settings=settings)
        status, stdout, stderr = measured.finish()
        assert status == 0, stderr
        assert not measured.processes()
        report = measured.report
        check_against_counts(report)
        assert report.stages[0].name == "cold"
        assert report.stages[0].whole == report.stages[0].clients == 2
        assert report.load_s
        assert report.kill
        assert report.kill.ready_s
        assert report.kill.first_s
        assert sum(worker["restarts"] for worker in report.workers) == 1
        assert report.peaks["front end"] > 20 * 2**20
        assert report.peaks["workers together"] > 2 * 10 * 2**20
        assert "a worker's kill" in stdout
        text = measured.base.with_suffix(".md").read_text("utf-8")
        for title in ("Machine", "What is on", "Memory", "Counters", "A worker killed"):
            assert f"## {title}" in text

    @pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.full), signal.SIGTERM])
    def test_ends_with_an_interrupted_measurement(
        self, tmp_path: Path, measure: Measure, settings: str, number: signal.Signals
    ) -> None:
        late = settings.replace("create", "Late")
        measured = measure("--clients", "2", settings=late)
        wait_for(lambda: measured.log().count('"event": "speech"') >= 2, "requests to be answered")
        assert measured.processes()
        measured.process.send_signal(number)
        status, _, stderr = measured.finish()
        assert status == 130
        assert "Traceback" not in stderr
        assert not measured.processes()
        report = measured.report
        assert report.interrupted
        assert [stage.name for stage in report.stages] == ["cold"]
        assert report.stages[0].runs[0].outcome is Outcome.WHOLE

    def test_ends_with_a_killed_measurement(self, tmp_path: Path, measure: Measure, settings: str) -> None:
        measured = measure(settings=settings)
        wait_for(lambda: "worker ready" in measured.log(), "a worker")
        os.kill(measured.process.pid, signal.SIGKILL)
        measured.finish()
        wait_for(lambda: not measured.processes(), "the service to be gone")

    def test_that_cannot_start(self, tmp_path: Path, measure: Measure, settings: str) -> None:
        measured = measure(settings=settings.replace("create", "cannot_load"))
        status, stdout, stderr = measured.finish()
        assert (status, stdout, stderr.count("\n")) == (1, "", 1)
        assert "the weights are missing" in stderr
        assert not measured.processes()

    def test_settings_that_are_wrong(self, tmp_path: Path, measure: Measure) -> None:
        status, _, stderr = measure(settings="[model]\nengin = 1\n").finish()
        assert status == 2
        assert "engin" in stderr
