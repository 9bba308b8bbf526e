"""New workers for old ones by a reload: no stream breaks; where the new ones cannot be had, the old ones serve on."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engines import expected_pcm
from tests.process.pools import gone
from tests.reloading import Told, reload_with
from tests.serving import Script, Server, Tables, wait_for

NEWER: Tables = {"model": {"engine": "tests.engines:Newer"}}


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def workers(server: Server, **wanted: object) -> list[dict[str, Any]]:
    """Those of which all this is true."""
    found: list[dict[str, Any]] = server.model_info()["workers"]
    return [worker for worker in found if all(worker[name] == value for name, value in wanted.items())]


def test_new_workers_beside_the_old_ones(tmp_path: Path) -> None:
    script = Script(tmp_path, at=1, chunks=9)
    counted: Tables = {"workers": {"count": 2}}
    with Server(tmp_path, counted, watch_steps=True) as server, server.stream(text=script.text, seed=1) as running:
        before = server.worker_pids()
        told = reload_with(server, {**NEWER, "limits": {"max_waiting": 1}})
        assert told.status == 0, told.says
        assert "workers: workers beside the old ones" in told.says
        assert server.model_info()["model_type"] == "CosyVoice3"
        assert server.speak(text="chunks=2", seed=5).content == expected_pcm(5, 2)
        wait_for(lambda: len(workers(server)) == 3, "the idle one of the old ones to be gone")
        (leaving,) = workers(server, generation=1)
        assert (leaving["state"], leaving["running"], leaving["pid"]) == ("leaving", 1, leaving["pid"])
        assert leaving["pid"] in before
        assert [worker["state"] for worker in workers(server, generation=2)] == ["ready"] * 2
        script.open_gate()
        assert running.read() == expected_pcm(1, 9)
        wait_for(lambda: len(workers(server)) == 2, "the old ones to be gone")
        assert all(map(gone, before))
        assert not server.logs("worker lost")


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        ("tests.engines:cannot_load", "get them with `make model`"),
        pytest.param("tests.engines:exits_at_start", "exit status 3", marks=pytest.mark.full),
        pytest.param("no.such.module:create", "no module named", marks=pytest.mark.full),
        pytest.param("demon", "the engine demon is not known", marks=pytest.mark.full),
    ],
)
def test_where_the_new_ones_cannot_start_the_old_ones_serve_on(tmp_path: Path, engine: str, why: str) -> None:
    script = Script(tmp_path, at=1)
    with Server(tmp_path) as server, server.stream(text=script.text, seed=1) as running:
        (pid,) = server.worker_pids()
        told = reload_with(server, {"model": {"engine": engine}, "limits": {"max_text_chars": 3}})
        assert told.status == 1
        assert "refused, and nothing has changed" in told.says
        assert why in told.says
        script.open_gate()
        assert running.read() == expected_pcm(1, 3)
        assert server.speak(text="hello").status_code == 200
        wait_for(lambda: server.worker_pids() == [pid], "the old worker alone")
        assert server.model_info()["generation"] == 1
        assert 'cosyserve_reloads_total{outcome="refused"} 1.0' in server.get("/metrics").text
        assert reload_with(server, NEWER).status == 0


def beginning(server: Server, threads: ThreadPoolExecutor, model: Path, **settings: dict[str, object]) -> Future[Told]:
    """A reload whose new worker waits for the file `go`."""
    waiting: Tables = {**settings, "model": {"engine": "tests.engines:waits_at_start", "dir": str(model)}}
    reloading = threads.submit(reload_with, server, waiting)
    wait_for(lambda: workers(server, generation=2, state="starting"), "a new worker")
    return reloading


def test_one_death_of_a_new_worker_is_forgiven(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    with Server(tmp_path) as server:
        reloading = beginning(server, threads, tmp_path)
        (new,) = workers(server, generation=2)
        os.kill(new["pid"], signal.SIGKILL)
        wait_for(lambda: workers(server, generation=2, state="starting", restarts=1), "another try")
        assert server.speak(text="hello", seed=1).status_code == 200
        (tmp_path / "go").touch()
        assert reloading.result().status == 0
        assert server.model_info()["model_type"] == "CosyVoice3"


@pytest.mark.full
def test_two_deaths_are_not(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    with Server(tmp_path) as server:
        reloading = beginning(server, threads, tmp_path)
        for restarts in range(2):
            (new,) = wait_for(lambda: workers(server, generation=2, state="starting", restarts=restarts), "a try")  # noqa: B023
            os.kill(new["pid"], signal.SIGKILL)
        assert "killed by signal 9" in reloading.result().says
        assert server.model_info()["generation"] == 1


@pytest.mark.full
def test_the_old_worker_dies_meanwhile(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    """It is replaced by one of its own generation, which serves until the new one does."""
    with Server(tmp_path) as server:
        reloading = beginning(server, threads, tmp_path)
        (pid,) = [worker["pid"] for worker in workers(server, generation=1)]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: workers(server, generation=1, state="ready", restarts=1), "the replacement")
        assert server.model_info()["model_type"] == "scripted"
        assert server.speak(text="chunks=2", seed=5).content == expected_pcm(5, 2)
        (tmp_path / "go").touch()
        assert reloading.result().status == 0


def test_a_stop_in_the_middle(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    script = Script(tmp_path, at=1)
    with Server(tmp_path, {"server": {"shutdown_grace_s": 60}}) as server:
        with server.stream(text=script.text, seed=1) as running:
            reloading = beginning(server, threads, tmp_path)
            pids = server.worker_pids()
            server.terminate()
            assert "the service is stopping" in reloading.result().says
            assert "the service is stopping" in reload_with(server, {}).says
            script.open_gate()
            assert running.read() == expected_pcm(1, 3)
        assert server.wait_exit() == 0
        assert all(map(gone, pids))


@pytest.mark.full
def test_a_server_that_cannot_start_is_mended(tmp_path: Path) -> None:
    broken = {"model": {"engine": "tests.engines:cannot_load"}}
    with Server(tmp_path, broken, await_health="unavailable") as server:
        assert reload_with(server, NEWER).status == 0
        assert server.health() == "ok"


@pytest.mark.full
def test_during_the_start(tmp_path: Path) -> None:
    hanging = {"model": {"engine": "tests.engines:hangs_at_start"}}
    with Server(tmp_path, hanging, await_health="starting") as server:
        (pid,) = server.worker_pids()
        assert reload_with(server, NEWER).status == 0
        assert server.health() == "ok"
        wait_for(lambda: gone(pid), "the one that hung to be gone")


@pytest.mark.full
@pytest.mark.parametrize("handover", ["beside", "in_turn"])
def test_another_number_of_workers(tmp_path: Path, handover: str) -> None:
    with Server(tmp_path) as server:
        for count in (3, 1):
            assert reload_with(server, {"workers": {"count": count, "handover": handover}}).status == 0
            wait_for(lambda: len(workers(server)) == count, "the old ones to be gone")  # noqa: B023
            assert len(workers(server, state="ready")) == count


@pytest.mark.full
def test_a_link_to_another_model(tmp_path: Path) -> None:
    """The setting is the same, and what it leads to is not."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "one")
    with Server(tmp_path, {"model": {"engine": "tests.engines:create", "dir": str(link)}}) as server:
        assert "workers: unchanged" in reload_with(server, {}).says
        link.unlink()
        link.symlink_to(tmp_path / "two")
        assert "workers: workers beside" in reload_with(server, {}).says


IN_TURN: Tables = {"workers": {"handover": "in_turn"}}


def test_in_turn_whoever_comes_between_waits(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    script = Script(tmp_path, at=1)
    with Server(tmp_path, IN_TURN) as server, server.stream(text=script.text, seed=1) as running:
        waiting: Tables = {"model": {"engine": "tests.engines:waits_at_start", "dir": str(tmp_path)}}
        reloading = threads.submit(reload_with, server, waiting)
        wait_for(lambda: workers(server, state="leaving"), "the old one to take nobody")
        late = threads.submit(server.speak, text="chunks=2", seed=5)
        wait_for(lambda: server.model_info()["waiting"] == 1, "a request in line")
        assert len(workers(server)) == 1, "the new one has no room yet"
        script.open_gate()
        assert running.read() == expected_pcm(1, 3)
        wait_for(lambda: workers(server, generation=2), "the new one")
        assert server.health() == "starting"
        (tmp_path / "go").touch()
        told = reloading.result()
        assert told.status == 0
        assert "workers in turn" in told.says
        assert late.result().content == expected_pcm(5, 2)


def test_in_turn_where_the_new_one_cannot_start_the_old_one_comes_back(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    settings: Tables = {"workers": {"handover": "in_turn", "count": 2, "devices": ["a", "b"]}}
    with Server(tmp_path, settings) as server:
        told = reload_with(server, {"model": {"engine": "tests.engines:cannot_load"}})
        assert told.status == 1
        assert "the old workers were started again" in told.says
        assert [worker["generation"] for worker in workers(server, state="ready")] == [1, 1]
        assert server.model_info()["generation"] == 1
        assert server.speak(text="chunks=2", seed=5).content == expected_pcm(5, 2)
        assert reload_with(server, NEWER).status == 0
        assert server.model_info()["model_type"] == "CosyVoice3"
        assert_one_at_a_time_on_each_device(server)


def assert_one_at_a_time_on_each_device(server: Server) -> None:
    """Memory that one worker holds is not there for the next."""
    holders: dict[str, int] = {}
    for line in server.logs():
        if line["event"] == "worker starting":
            assert holders.setdefault(line["device"], line["pid"]) == line["pid"], line
        elif line["event"] == "worker process ended":
            holders = {device: pid for device, pid in holders.items() if pid != line["pid"]}
    assert len(holders) == 2
