"""What clients and operators are told of deaths, over HTTP."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.engines import expected_pcm
from tests.http.wire import check_error
from tests.serving import Script, Server, Tables, wait_for


def test_health_tells_the_truth_at_each_moment(tmp_path: Path) -> None:
    """Ok, starting, unavailable after a crash loop, and ok again when the cause is gone."""
    healed = tmp_path / "healed"
    healed.touch()
    settings: Tables = {
        "model": {"engine": "tests.engines:exits_once", "dir": str(tmp_path), "streams": 1},
        "limits": {"wait_timeout_s": 300},
    }
    script = Script(tmp_path, at=0)
    with Server(tmp_path, settings) as server, ThreadPoolExecutor(2) as clients:
        running = clients.submit(server.speak, text=script.text)
        script.await_event("gate")
        waiting = clients.submit(server.speak, text="chunks=1")
        wait_for(lambda: server.model_info()["waiting"] == 1, "a request in line")
        healed.unlink()
        os.kill(server.worker_pids()[0], signal.SIGKILL)

        wait_for(lambda: server.health() == "starting", "/health to say `starting`")
        answer = server.get("/health")
        assert (answer.status_code, answer.json()["model_type"]) == (503, "scripted")
        assert int(answer.headers["retry-after"]) > 0
        check_error(server.speak(text="hello"), 503, "no_worker")
        wait_for(lambda: server.health() == "unavailable", "/health to say `unavailable`")
        for answered in (running, waiting):
            assert "no worker can start" in check_error(answered.result(), 503, "no_worker")
        (status,) = server.model_info()["workers"]
        assert status["restarts"] >= 5
        assert "exit status 4" in status["reason"]
        assert server.get("/health/live").status_code == 200

        healed.touch()
        wait_for(lambda: server.health() == "ok", "/health to say `ok`")
        assert server.speak(text="chunks=2", seed=5).content == expected_pcm(5, 2)


def test_a_poisonous_request_is_told_so(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        message = check_error(server.speak(text="die=0"), 500, "worker_died")
        assert "3 times" in message
        wait_for(lambda: len(server.logs("worker lost")) == 3, "three deaths in the log")
        wait_for(lambda: server.health() == "ok", "the worker to be back")
        assert server.speak(text="chunks=2", seed=5).content == expected_pcm(5, 2)


def test_an_engine_that_cannot_load_says_why_and_stays_down(tmp_path: Path) -> None:
    settings = {"model": {"engine": "tests.engines:cannot_load"}}
    with Server(tmp_path, settings, await_health="unavailable") as server:
        (status,) = server.model_info()["workers"]
        assert (status["state"], status["restarts"]) == ("unfit", 0)
        assert status["reason"] == "the weights are missing: get them with `make model`"
        check_error(server.speak(text="hello"), 503, "no_worker")
        (line,) = wait_for(lambda: server.logs("engine cannot load"), "the reason in the log")
        assert line["reason"] == status["reason"]
        assert len(server.logs("worker starting")) == 1
