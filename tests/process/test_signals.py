"""SIGTERM, SIGINT and Ctrl-C: what the server still does, and that nothing stays."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.engines import expected_pcm
from tests.process.pools import gone
from tests.serving import DEADLINE_S, ROOT, Script, Server, Tables, wait_for


def family(server: Server) -> list[int]:
    """The workers, the helpers and multiprocessing's resource tracker."""
    return [child.pid for child in psutil.Process(server.pid).children(recursive=True)]


def all_gone(pids: list[int]) -> bool:
    return all(gone(pid) for pid in pids)


def to_the_server(server: Server, number: int) -> None:
    os.kill(server.pid, number)


def to_the_group(server: Server, number: int) -> None:
    """As a terminal does."""
    os.killpg(server.pid, number)


def to_every_process(server: Server, number: int) -> None:
    """As a service manager does."""
    for pid in [*family(server), server.pid]:
        os.kill(pid, number)


@pytest.mark.parametrize(
    ("send", "number"),
    [
        (to_the_server, signal.SIGTERM),
        (to_the_server, signal.SIGINT),
        (to_the_group, signal.SIGINT),
        (to_every_process, signal.SIGTERM),
    ],
    ids=["SIGTERM", "SIGINT", "Ctrl-C", "a service manager's"],
)
def test_running_streams_end_whole(tmp_path: Path, send: Callable[[Server, int], None], number: int) -> None:
    settings: Tables = {
        "server": {"shutdown_grace_s": 60},
        "workers": {"count": 2},
        "model": {"engine": "tests.engines:create", "streams": 2},
    }
    script = Script(tmp_path, at=1, chunks=20)
    with Server(tmp_path, settings) as server, ExitStack() as running, ThreadPoolExecutor(1) as threads:
        pids = family(server)
        streams = {
            seed: running.enter_context(server.stream(text=script.text, seed=seed)).iter_bytes() for seed in range(4)
        }
        heard = {seed: next(stream) for seed, stream in streams.items()}
        waiting = threads.submit(server.speak, text="chunks=5", seed=9)
        wait_for(lambda: server.model_info()["waiting"] == 1, "a request in line")

        send(server, number)

        wait_for(lambda: server.health() == "stopping", "/health to say `stopping`")
        assert server.get("/health").status_code == 503
        assert server.get("/health/live").status_code == 200
        refused = server.speak(text="too late")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
        assert int(refused.headers["retry-after"]) > 0
        assert not any(gone(pid) for pid in pids)
        script.open_gate()
        for seed, stream in streams.items():
            assert heard[seed] + b"".join(stream) == expected_pcm(seed, 20)
        assert waiting.result().content == expected_pcm(9, 5)
        assert server.wait_exit() == 0
        wait_for(lambda: all_gone(pids), "the workers to be gone")
        assert [line["event"] for line in server.logs()][-1] == "stopped"
        assert "Traceback" not in server.output()
        assert not server.logs("worker lost")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.full)])
def test_a_stream_that_does_not_end_is_broken_at_the_end_of_the_grace(tmp_path: Path, number: int) -> None:
    script = Script(tmp_path, at=1)
    with Server(tmp_path, {"server": {"shutdown_grace_s": 0.5}}) as server, server.stream(text=script.text) as response:
        pids = family(server)
        audio = response.iter_bytes()
        next(audio)
        server.signal(number)
        with pytest.raises(httpx.RemoteProtocolError):
            next(audio)
        assert server.wait_exit() == 0
        wait_for(lambda: all_gone(pids), "the workers to be gone")
        assert server.logs("streams cut off at the end of the grace")[0]["running"] == 1
        assert "Traceback" not in server.output()


@pytest.mark.parametrize("word", ["", "hang=1"])
def test_a_second_signal_ends_at_once(tmp_path: Path, word: str) -> None:
    script = Script(tmp_path, at=1)
    settings = {"server": {"shutdown_grace_s": 600}, "workers": {"count": 2}}
    with Server(tmp_path, settings) as server, server.stream(text=f"{script.text} {word}") as response:
        pids = family(server)
        audio = response.iter_bytes()
        next(audio)
        server.signal(signal.SIGINT)
        wait_for(lambda: server.health() == "stopping", "the first to be heard")
        server.signal(signal.SIGINT)
        assert server.wait_exit() == 1
        wait_for(lambda: all_gone(pids), "the workers to be gone")
        with pytest.raises(httpx.TransportError):
            next(audio)


@pytest.mark.parametrize("engine", ["hangs_at_start", "exits_at_start"])
def test_a_server_that_is_not_up_yet_ends_too(tmp_path: Path, engine: str) -> None:
    with Server(tmp_path, {"model": {"engine": f"tests.engines:{engine}"}}, await_health="starting") as server:
        pids = family(server)
        server.terminate()
        assert server.wait_exit() == 0
        wait_for(lambda: all_gone(pids), "the workers to be gone")
        assert server.logs("stopped")


@contextmanager
def make_run(folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[], str]]]:
    """`make run` on a terminal of its own, with an environment that it takes for installed."""
    binaries = folder / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "pip").touch()
    (binaries / "cosyserve").write_text(f'#!/bin/sh\nexec {sys.executable} -m cosyserve "$@"\n')
    (binaries / "cosyserve").chmod(0o755)
    (folder / "venv" / ".installed-core").touch()
    config = folder / "config.toml"
    config.write_text('[workers]\ncount = 2\n[log]\nformat = "json"\n[defaults]\nprompt_wav = ""\n')
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COSYSERVE_", "MAKE"))}
    with (folder / "log").open("wb") as log:
        make = subprocess.Popen(
            [
                "make",
                "run",
                f"VENV={folder}/venv",
                "ENGINE=tests.engines:create",
                f"ARGS=--config {config} --port 0",
            ],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield make, (folder / "log").read_text
    finally:
        if make.poll() is None:
            for child in psutil.Process(make.pid).children(recursive=True):
                child.kill()
        make.wait()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_ctrl_c_on_make_run(tmp_path: Path) -> None:
    with make_run(tmp_path) as (make, output):
        wait_for(lambda: output().count('"worker ready"') == 2, "two ready workers")
        pids = [child.pid for child in psutil.Process(make.pid).children(recursive=True)]
        assert len(pids) == 5  # the server, two workers, a helper, the tracker

        os.killpg(make.pid, signal.SIGINT)

        # make itself ends by the signal, once the server has ended.
        assert make.wait(DEADLINE_S) in {0, -signal.SIGINT}
        wait_for(lambda: all_gone(pids), "everything to be gone")
        assert json.loads(output().splitlines()[-1])["event"] == "stopped"
        assert "Traceback" not in output()
        assert "Error" not in output()
