"""What an operator is told at the start, by `serve` and by `check`."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.engines import expected_pcm
from tests.serving import DEADLINE_S, ROOT, Server, free_port, wait_for


def warnings(server: Server) -> list[str]:
    return [line["event"] for line in server.logs() if line["level"] == "warning"]


def test_serve_tells_what_it_goes_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = {"defaults": {"prompt_wav": "gone.wav"}, "voices": {"dir": "file/voices"}}
    environment = {"TMPDIR": str(tmp_path / "file"), "COSYSERVE_URL": "http://voices:50000"}
    with Server(tmp_path, settings, environment) as server:
        told = warnings(server)
        for subject in (f"the default prompt {tmp_path}/gone.wav", "the voices' folder", "TMPDIR", "COSYSERVE_URL"):
            assert any(line.startswith(subject) for line in told), told


def test_serve_with_nothing_to_tell_warns_of_nothing(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert warnings(server) == []


def test_which_engine_auto_is_and_why(tmp_path: Path) -> None:
    settings = {"model": {"engine": "auto", "dir": "no weights here"}}
    with Server(tmp_path, settings, {"CUDA_VISIBLE_DEVICES": ""}, await_health="unavailable") as server:
        info = server.model_info()
        assert info["engine"] == "native"
        assert info["engine_chosen"].startswith("model.engine is auto, and ")
        assert f"the engine is native: {info['engine_chosen']}" in [line["event"] for line in server.logs()]
        assert server.get("/health").json()["details"]["engine"] == "native"


def test_an_engine_that_was_named_needs_no_reason(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.model_info()["engine_chosen"] is None


def test_check_says_beforehand_what_serve_would(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        done = command(tmp_path, "check", "--engine", "tests.engines:create", "--port", str(server.port))
    verdict, read, *report = done.stdout.splitlines()
    assert done.returncode == 1
    assert verdict == "cosyserve cannot serve with the engine tests.engines:create: 1 problem below"
    assert read == f"configuration: {tmp_path}/config.toml"
    assert any(line.startswith(f"  problem  cannot listen on 127.0.0.1:{server.port}: ") for line in report)


def test_both_tell_all_that_is_wrong_with_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nprot = 1\n[limits]\nmax_waiting = 'x'\n")
    for name in ("serve", "check"):
        done = command(tmp_path, name, COSYSERVE_API_KEYS='["secret"]')
        said = done.stdout + done.stderr
        assert done.returncode == (2 if name == "serve" else 1)
        assert str(tmp_path / "config.toml") in said
        assert "did you mean COSYSERVE_SERVER__API_KEYS?" in said
        assert "did you mean server.port?" in said
        assert "limits.max_waiting = 'x': " in said
        assert "secret" not in said


@pytest.mark.parametrize(
    "closed", ["<&- >&- 2>&-", "<&-", *(pytest.param(one, marks=pytest.mark.full) for one in (">&-", "2>&-"))]
)
def test_closed_standard_streams(tmp_path: Path, closed: str) -> None:
    """The server's descriptors and the workers' would take their numbers else."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serve = ["serve", "--port", str(port), "--engine", "tests.engines:create"]
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-m", "cosyserve", *serve],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process, httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client:
        try:
            wait_for(lambda: status(client) == "ok", "a worker that is ready")
            answer = client.post("/synthesize", data={"text": "chunks=2", "seed": "5"})
            assert (answer.status_code, answer.content) == (200, expected_pcm(5, 2))
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()


def status(client: httpx.Client) -> str:
    try:
        told: str = client.get("/health").json()["status"]
    except httpx.TransportError:
        return ""
    return told


def command(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `cosyserve` there."""
    return subprocess.run(
        [sys.executable, "-m", "cosyserve", *arguments],
        cwd=folder,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COSYSERVE_")}
    return {**inherited, "PYTHONPATH": str(ROOT)}


def test_a_reader_of_the_report_may_stop_reading(tmp_path: Path) -> None:
    """As `cosyserve check | head -1` does."""
    command = [sys.executable, "-m", "cosyserve", "check", "--engine", "demo", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as checking:
        assert checking.stdout is not None
        assert checking.stderr is not None
        checking.stdout.close()
        assert checking.stderr.read() == b""
    assert checking.returncode == 1
