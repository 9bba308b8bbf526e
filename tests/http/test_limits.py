"""The cap, the waiting line and the clocks: who runs, who waits, who is told to come back."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.engines import expected_pcm
from tests.http.wire import check_error
from tests.serving import Script, Server, wait_for


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(200) as pool:
        yield pool


def await_counts(server: Server, running: int, waiting: int) -> None:
    def counts() -> bool:
        info = server.model_info()
        return (info["running"], info["waiting"]) == (running, waiting)

    wait_for(counts, f"{running} running and {waiting} waiting")


class TestLine:
    def test_ten_run_the_eleventh_waits_the_overflow_is_told(self, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
        scripts = [Script(tmp_path, f"job{number}", chunks=3, at=1) for number in range(12)]
        with Server(tmp_path, {"limits": {"max_concurrency": 10, "max_waiting": 2}}) as server:
            running = [threads.submit(server.speak, text=script.text, seed=n) for n, script in enumerate(scripts[:10])]
            for script in scripts[:10]:
                script.await_event("gate")
            waiting = []
            for number in (10, 11):
                waiting.append(threads.submit(server.speak, text=scripts[number].text, seed=number))
                await_counts(server, running=10, waiting=number - 9)

            for _ in range(3):
                check_error(server.speak(text="hello"), 503, "overloaded")
            assert scripts[10].events() == scripts[11].events() == []

            scripts[4].open_gate()
            scripts[10].await_event("gate")
            assert scripts[11].events() == []
            await_counts(server, running=10, waiting=1)

            for script in scripts:
                script.open_gate()
            for number, answer in enumerate([*running, *waiting]):
                assert answer.result().status_code == 200
                assert answer.result().content == expected_pcm(number, 3)
            await_counts(server, running=0, waiting=0)

    def test_the_cap_holds_whatever_the_engine_offers(self, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
        settings = {"limits": {"max_concurrency": 2}, "workers": {"count": 2}, "model": {"streams": 5}}
        scripts = [Script(tmp_path, f"job{number}", at=1) for number in range(3)]
        with Server(tmp_path, settings) as server:
            wait_for(lambda: {w["state"] for w in server.model_info()["workers"]} == {"ready"}, "both workers")
            answers = [threads.submit(server.speak, text=script.text) for script in scripts]
            await_counts(server, running=2, waiting=1)
            assert sorted(worker["running"] for worker in server.model_info()["workers"]) == [1, 1]
            for script in scripts:
                script.open_gate()
            assert [answer.result().status_code for answer in answers] == [200] * 3
            (told,) = [line for line in server.logs() if "max_concurrency is less than" in line["event"]]
            assert (told["max_concurrency"], told["streams"]) == (2, 10)

    def test_as_many_as_the_workers_have(self, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
        settings = {"workers": {"count": 2}, "model": {"streams": 2}}
        scripts = [Script(tmp_path, f"job{number}", at=1) for number in range(5)]
        with Server(tmp_path, settings) as server:
            wait_for(lambda: {w["state"] for w in server.model_info()["workers"]} == {"ready"}, "both workers")
            answers = [threads.submit(server.speak, text=script.text) for script in scripts]
            await_counts(server, running=4, waiting=1)
            assert "cosyserve_max_concurrency 4.0" in server.get("/metrics").text
            for script in scripts:
                script.open_gate()
            assert [answer.result().status_code for answer in answers] == [200] * 5
            assert not any("max_concurrency" in line["event"] for line in server.logs())

    def test_fewer_streams_than_the_cap(self, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
        scripts = [Script(tmp_path, f"job{number}", at=1) for number in range(2)]
        with Server(tmp_path, {"limits": {"max_concurrency": 10}, "model": {"streams": 1}}) as server:
            answers = [threads.submit(server.speak, text=script.text) for script in scripts]
            await_counts(server, running=1, waiting=1)
            for script in scripts:
                script.open_gate()
            assert [answer.result().status_code for answer in answers] == [200] * 2
            assert any("max_concurrency is more than" in line["event"] for line in server.logs())

    def test_no_line_at_all(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with Server(tmp_path, {"limits": {"max_concurrency": 1, "max_waiting": 0}}) as server:
            with server.stream(text=script.text, seed=1) as answer:
                check_error(server.speak(text="hello"), 503, "overloaded")
                script.open_gate()
                assert answer.read() == expected_pcm(1, 3)
            server.await_idle()
            assert server.speak(text="hello").status_code == 200

    def test_waited_too_long(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with Server(tmp_path, {"limits": {"max_concurrency": 1, "wait_timeout_s": 0.5}}) as server:
            with server.stream(text=script.text, seed=1) as answer:
                check_error(server.speak(text="hello"), 503, "wait_timeout")
                assert server.model_info()["waiting"] == 0
                script.open_gate()
                assert answer.read() == expected_pcm(1, 3)
            assert server.speak(text="hello").status_code == 200

    def test_a_hundred_at_once(self, server: Server, threads: ThreadPoolExecutor) -> None:
        answers = [threads.submit(server.speak, text="chunks=4", seed=seed) for seed in range(100)]
        for seed, answer in enumerate(answers):
            assert (answer.result().status_code, answer.result().content) == (200, expected_pcm(seed, 4))


class TestNoWorker:
    def test_while_they_start(self, tmp_path: Path) -> None:
        settings = {"model": {"engine": "tests.engines:hangs_at_start"}}
        with Server(tmp_path, settings, await_health="starting") as server:
            answer = server.get("/health")
            assert answer.status_code == 503
            assert answer.json().items() >= {"status": "starting", "model_type": None}.items()
            assert int(answer.headers["retry-after"]) > 0
            assert server.get("/health/live").status_code == 200
            assert "starting" in check_error(server.speak(text="hello"), 503, "no_worker")
            # A bad request is told so all the same.
            check_error(server.speak(text=""), 422, "invalid_field", "text")

    def test_where_none_can(self, tmp_path: Path) -> None:
        settings = {"model": {"engine": "tests.engines:cannot_load"}}
        with Server(tmp_path, settings, await_health="unavailable") as server:
            answer = server.get("/health")
            assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
            assert "log" in check_error(server.speak(text="hello"), 503, "no_worker")
            (worker,) = server.model_info()["workers"]
            assert "make model" in worker["reason"]


class TestClocks:
    def test_first_chunk_overdue(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=0)
        with Server(tmp_path, {"limits": {"first_chunk_timeout_s": 0.5}}) as server:
            check_error(server.speak(text=script.text), 504, "audio_overdue")
            script.await_event("closed")
            server.await_idle()
            assert "cancelled" in script.events()

    def test_next_chunk_overdue(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with Server(tmp_path, {"limits": {"next_chunk_timeout_s": 0.5}}) as server:
            with server.stream(text=script.text) as answer:
                assert answer.status_code == 200
                with pytest.raises(httpx.RemoteProtocolError):
                    answer.read()
            script.await_event("closed")
            server.await_idle()
            assert "cancelled" in script.events()

    def test_the_wait_in_line_does_not_count(self, tmp_path: Path) -> None:
        """The second waits until the first has been given up, which takes longer than a first chunk may."""
        limits = {"max_concurrency": 1, "first_chunk_timeout_s": 5, "next_chunk_timeout_s": 6}
        first, second = Script(tmp_path, "first", at=1), Script(tmp_path, "second")
        with Server(tmp_path, {"limits": limits}) as server, server.stream(text=first.text) as answer:
            assert server.speak(text=second.text, seed=2).content == expected_pcm(2, 3)
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()
