"""What operators run: Makefile, systemd unit, container image, compose file, nginx snippet."""

import ast
import configparser
import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Origin

from cosyserve.pool.exchange import TRIES
from cosyserve.settings.loading import load_settings
from cosyserve.settings.sections import Settings
from cosyserve_workers.engine import BUILT_IN
from tests.http.sessions import PATH
from tests.nginx import CONFIGURATION as NGINX
from tests.nginx import nginx
from tests.serving import Server, free_port

ROOT = Path(__file__).parents[2]
SETTINGS = Settings()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

Instruction = tuple[str, str]


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where the program is not installed: it judges our files better than we could, but not everyone has it."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def seconds(duration: str) -> int:
    """`60`, `60s` or `2m`, as nginx, systemd and compose write it."""
    match = re.fullmatch(r"(\d+)(s|m)?", duration)
    assert match, duration
    return int(match[1]) * (60 if match[2] == "m" else 1)


# --- Makefile -----------------------------------------------------------------------------------------------------


def make(*arguments: str, **overrides: str) -> list[str]:
    # What the make that runs these tests was told is not meant for this one.
    told = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS", "ENGINE", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in told}
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment | overrides, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


# Says how it was called and how it ended. It ends no sooner than make, its parent, has taken note of the signal (then
# make's own handler is gone): make 4.3 can stumble over a child quicker than itself, which no real server is.
STAND_IN = """\
import os, re, signal, sys
wanted = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print("serving", *sys.argv[1:], flush=True)
number = signal.sigwait(wanted)
parent = f"/proc/{os.getppid()}/status"
while int(re.search(r"SigCgt:\\s*(\\w+)", open(parent).read())[1], 16) >> (number - 1) & 1:
    os.sched_yield()
print("ended by", number.name, flush=True)
"""


@pytest.fixture
def serving_venv(tmp_path: Path) -> Path:
    """An environment that make takes for installed, with a stand-in for the server."""
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "pip").touch()
    (binaries / "cosyserve").write_text(f"#!{sys.executable}\n{STAND_IN}")
    (binaries / "cosyserve").chmod(0o755)
    for engine in ("demo", "native", "core"):
        (tmp_path / "venv" / f".installed-{engine}").touch()
    return tmp_path / "venv"


@needs("make")
def test_make_without_a_target_changes_nothing_and_lists_the_targets() -> None:
    listed = "\n".join(make())

    for target in ("run", "model", "test", "test-light", "test-full", "lint", "format", "prompt", "clean"):
        assert re.search(rf"^  {target} ", listed, re.MULTILINE)


@needs("make")
def test_make_run_installs_the_demo_and_execs_the_server_last(tmp_path: Path) -> None:
    planned = make("-n", "run", f"VENV={tmp_path}/venv")

    assert any(line.endswith("-m pip install -e '.[demo]'") for line in planned)
    assert shlex.split(planned[-1]) == ["exec", f"{tmp_path}/venv/bin/cosyserve", "serve", "--engine", "demo"]


@needs("make")
def test_make_run_installs_what_the_engine_needs_and_passes_flags_on(tmp_path: Path) -> None:
    planned = make("-n", "run", f"VENV={tmp_path}/venv", "ENGINE=native", "ARGS=--port 50123")

    assert any(line.endswith("-m pip install -e '.[native]'") for line in planned)
    assert planned[-1].endswith("cosyserve serve --engine native --port 50123")


@needs("make")
def test_make_run_with_an_engine_from_elsewhere_asks_for_no_extra(tmp_path: Path) -> None:
    planned = make("-n", "run", f"VENV={tmp_path}/venv", "ENGINE=package.module:factory")

    assert any(line.endswith("-m pip install -e '.'") for line in planned)
    assert planned[-1].rstrip().endswith("--engine package.module:factory")


@needs("make")
def test_make_run_installs_once(serving_venv: Path) -> None:
    assert len(make("-n", "run", f"VENV={serving_venv}")) == 1


@needs("make")
def test_make_run_installs_again_when_the_project_changed(serving_venv: Path) -> None:
    os.utime(serving_venv / ".installed-demo", (0, 0))

    assert any("pip install" in line for line in make("-n", "run", f"VENV={serving_venv}"))


@needs("make")
def test_make_run_makes_an_environment_anew_whose_interpreter_has_gone(serving_venv: Path) -> None:
    (serving_venv / "bin" / "python").unlink()
    (serving_venv / "bin" / "python").symlink_to("/nonexistent/python3")

    planned = "\n".join(make("-n", "run", f"VENV={serving_venv}"))

    assert "-m venv" in planned
    assert "pip install" in planned


@needs("make")
def test_make_says_what_is_missing_where_no_python_will_do(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "run", f"VENV={tmp_path}/venv", "PYTHON=python-that-is-not-there /bin/false"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "Python 3.11 or newer" in done.stderr
    assert "python3.11-venv" in done.stderr


@needs("make")
@pytest.mark.parametrize(
    ("to_group", "number"), [(True, signal.SIGINT), (True, signal.SIGTERM), (False, signal.SIGTERM)]
)
def test_signals_to_make_run_end_the_server_and_leave_make_without_an_error_to_print(
    serving_venv: Path, to_group: bool, number: signal.Signals
) -> None:
    with subprocess.Popen(
        ["make", "run", f"VENV={serving_venv}", "ARGS=--port 0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert any(line == "serving serve --engine demo --port 0\n" for line in process.stdout)
            (os.killpg if to_group else os.kill)(process.pid, number)
            rest, _ = process.communicate(timeout=10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    assert rest == f"ended by {number.name}\n"


# --- systemd ------------------------------------------------------------------------------------------------------

UNIT = ROOT / "deploy" / "stream_service.service"


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    unit.read(UNIT)
    return unit["Service"]


def test_the_unit_lets_streams_end_before_it_kills(service: configparser.SectionProxy) -> None:
    assert service["KillMode"] == "mixed"
    assert seconds(service["TimeoutStopSec"]) > SETTINGS.server.shutdown_grace_s


def test_the_unit_runs_the_server_as_its_own_user_and_open_to_the_network(service: configparser.SectionProxy) -> None:
    assert service["User"] == service["Group"] == "cosyserve"
    assert service["ExecStart"].split()[1:] == ["serve"]
    assert "Environment=COSYSERVE_SERVER__HOST=0.0.0.0" in UNIT.read_text(encoding="utf-8").splitlines()


def test_a_reload_of_the_unit_may_fail_and_has_time_for_new_workers(service: configparser.SectionProxy) -> None:
    program, *words = service["ExecReload"].split()

    assert program == service["ExecStart"].split()[0]
    assert words == ["reload", "--pid", "$MAINPID"]
    assert seconds(service["TimeoutStartSec"]) > TRIES * SETTINGS.workers.start_timeout_s


def test_the_unit_survives_the_death_of_a_worker(service: configparser.SectionProxy) -> None:
    assert service["OOMPolicy"] == "continue"
    assert service["Restart"] == "on-failure"


@pytest.mark.parametrize("directive", ["PrivateDevices", "ProtectClock", "MemoryDenyWriteExecute", "ProcSubset"])
def test_the_unit_leaves_cuda_what_it_needs(service: configparser.SectionProxy, directive: str) -> None:
    assert directive not in service


@needs("systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(re.sub(r"^(Exec(?:Start|Reload))=\S+", rf"\1={sys.executable}", text, flags=re.MULTILINE))

    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)

    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


# --- container image ----------------------------------------------------------------------------------------------

DOCKERFILE = ROOT / "docker" / "Dockerfile"


def read_stages(dockerfile: Path) -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first; what stands above the first FROM is left out."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: list[list[Instruction]] = []
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            stages.append([])
        if stages and keyword:
            stages[-1].append((keyword, rest))
    return stages


BUILDER, FINAL = read_stages(DOCKERFILE)


def values(stage: list[Instruction], keyword: str) -> list[str]:
    return [rest for name, rest in stage if name == keyword]


def copied_into_builder() -> list[str]:
    return [source for copy in values(BUILDER, "COPY") for source in copy.split()[:-1]]


def image_environment() -> dict[str, str]:
    engine = values(FINAL, "ARG")[0].partition("=")[2]
    pairs = [word.partition("=") for line in values(FINAL, "ENV") for word in shlex.split(line)]
    return {name: value.replace("${ENGINE}", engine) for name, _, value in pairs}


def health_check() -> list[str]:
    command = values(FINAL, "HEALTHCHECK")[0].partition("CMD ")[2]
    words: list[str] = ast.literal_eval(command)
    return words


@pytest.mark.parametrize("source", copied_into_builder())
def test_what_the_image_copies_exists_and_is_let_in(source: str) -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    last_match = [rule for rule in rules if fnmatch(source, rule.removeprefix("!"))][-1]

    assert (ROOT / source).exists()
    assert last_match.startswith("!")


def test_what_the_wheel_is_built_from_is_copied() -> None:
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    links = [path.resolve().relative_to(ROOT) for path in (ROOT / "src/cosyserve/settings/packaged").iterdir()]
    files = [PYPROJECT["project"]["readme"], *PYPROJECT["project"]["license-files"], *packages, *map(str, links)]

    assert {Path(file).parts[0] for file in files} <= set(copied_into_builder())


def test_the_image_is_built_with_an_engine_that_has_an_extra() -> None:
    (extras,), (engine,) = (
        [default.partition("=")[2] for default in values(stage, "ARG")] for stage in (BUILDER, FINAL)
    )

    assert engine == extras
    assert extras in PYPROJECT["project"]["optional-dependencies"]
    assert any('".[${EXTRAS}]"' in run for run in values(BUILDER, "RUN"))
    assert image_environment()["COSYSERVE_MODEL__ENGINE"] in BUILT_IN


def test_the_image_runs_as_a_numbered_user_who_is_not_root() -> None:
    (user,) = values(FINAL, "USER")
    uid = user.partition(":")[0]

    assert int(uid) > 0
    assert any(f"useradd --uid {uid} " in run for run in values(FINAL, "RUN"))


def test_the_image_is_stopped_as_the_server_expects() -> None:
    assert values(FINAL, "STOPSIGNAL") == ["SIGTERM"]
    assert values(FINAL, "ENTRYPOINT") == ['["cosyserve"]']  # no shell in between that would keep the signal


def test_the_image_sets_settings_that_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in image_environment().items():
        if name.startswith("COSYSERVE_"):
            monkeypatch.setenv(name, value)
    settings = load_settings()

    assert settings.server.host == "0.0.0.0"
    assert values(FINAL, "EXPOSE") == [str(settings.server.port)]
    assert settings.model.dir == Path("/models/CosyVoice2-0.5B")


def test_the_health_check_waits_as_long_as_a_worker_may_take_to_start() -> None:
    options = dict(re.findall(r"--([a-z-]+)=(\S+)", values(FINAL, "HEALTHCHECK")[0]))

    assert seconds(options["start-period"]) >= SETTINGS.workers.start_timeout_s


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_ready_from_not_ready(status: int, healthy: bool) -> None:
    answer = f"HTTP/1.1 {status} -\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()

    with upstream(lambda connection: connection.sendall(answer)) as (port, requests):
        done = run_health_check(sys.executable, port)

    assert (done.returncode == 0) is healthy
    assert requests[0].startswith(b"GET /health HTTP/1.1\r\n")


def run_health_check(python: str | Path, port: int) -> subprocess.CompletedProcess[bytes]:
    # A proxy that nobody answers at: the container may be told of one, and must not ask it for its own health.
    environment = {"COSYSERVE_SERVER__PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([python, *health_check()[1:]], env=environment, capture_output=True, check=False)


@needs("hadolint")
def test_hadolint_accepts_the_dockerfile() -> None:
    done = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.full
@pytest.mark.timeout(900)  # it installs from nothing
def test_the_image_s_commands_make_a_server_that_becomes_healthy_and_speaks(tmp_path: Path) -> None:
    source, venv = tmp_path / "src", tmp_path / "venv"
    source.mkdir()
    for name in copied_into_builder():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True)
        else:
            shutil.copy(ROOT / name, source)
    for command in values(BUILDER, "RUN"):
        shell = re.sub(r"^--mount=\S+ ", "", command).replace("/opt/cosyserve", str(venv))
        extras = values(BUILDER, "ARG")[0].partition("=")[2]
        subprocess.run(["sh", "-ec", shell], cwd=source, env=os.environ | {"EXTRAS": extras}, check=True)

    # Where the image has nothing mounted: no checkout, no config.toml, no weights.
    empty = tmp_path / "etc"
    empty.mkdir()
    port = free_port()
    environment = image_environment() | {
        "COSYSERVE_SERVER__HOST": "127.0.0.1",
        "COSYSERVE_SERVER__PORT": str(port),
        "HOME": str(tmp_path),
        "PATH": f"{venv}/bin:{os.environ['PATH']}",
    }
    command_line = [str(venv / "bin" / "cosyserve"), *ast.literal_eval(values(FINAL, "CMD")[0])]
    deadline = time.monotonic() + 120
    with subprocess.Popen(command_line, cwd=empty, env=environment) as server:
        try:
            while (done := run_health_check(venv / "bin" / "python", port)).returncode:
                assert server.poll() is None
                assert time.monotonic() < deadline, done.stderr.decode()
            spoken = httpx.post(f"http://127.0.0.1:{port}/synthesize", data={"text": "hello"}, trust_env=False)
            server.terminate()
            assert server.wait(SETTINGS.server.shutdown_grace_s) == 0
        finally:
            server.kill()

    assert spoken.status_code == 200, spoken.text
    assert spoken.content


# --- compose ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> Mapping[str, Any]:
    """The file with its variables at their defaults."""
    text = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    return document


@pytest.mark.parametrize("name", ["demo", "cosyserve", "library"])
def test_each_service_lets_streams_end_and_is_reachable(compose: Mapping[str, Any], name: str) -> None:
    service = compose["services"][name]

    assert seconds(service["stop_grace_period"]) > SETTINGS.server.shutdown_grace_s
    assert service["ports"] == [f"{SETTINGS.server.port}:{SETTINGS.server.port}"]
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    assert "healthcheck" not in service  # the image's own


@pytest.mark.parametrize("name", ["demo", "cosyserve", "library"])
def test_each_service_is_built_from_the_dockerfile(compose: Mapping[str, Any], name: str) -> None:
    build = compose["services"][name]["build"]
    context = (ROOT / "docker" / build["context"]).resolve()

    assert context / build["dockerfile"] == DOCKERFILE
    assert build["args"]["ENGINE"] in BUILT_IN
    extras = build["args"]["EXTRAS"].split(",")
    assert build["args"]["ENGINE"] in extras
    assert set(extras) <= set(PYPROJECT["project"]["optional-dependencies"])


def test_the_demo_needs_neither_gpu_nor_weights(compose: Mapping[str, Any]) -> None:
    demo = compose["services"]["demo"]

    assert demo["profiles"] == ["demo"]
    assert demo["build"]["args"] == {"ENGINE": "demo", "EXTRAS": "demo"}
    assert not {"deploy", "volumes"} & demo.keys()


@pytest.mark.parametrize(("name", "extras"), [("cosyserve", "native"), ("library", "cosyvoice,tensorrt")])
def test_a_service_has_gpus_weights_and_configuration(compose: Mapping[str, Any], name: str, extras: str) -> None:
    service = compose["services"][name]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    mounts = {target: (source, mode) for source, target, mode in (f"{v}:rw".split(":")[:3] for v in service["volumes"])}

    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert service["build"]["args"]["EXTRAS"] == extras
    assert service["environment"]["COSYSERVE_MODEL__DEVICE"] == "cuda"
    assert mounts["/models"] == ("../pretrained_models", "ro")
    assert mounts["/etc/cosyserve/config.toml"] == ("../config.toml", "ro")
    assert (ROOT / "docker" / "../config.toml").exists()
    assert mounts[image_environment()["HOME"]] == ("cache", "rw")
    assert "cache" in compose["volumes"]


def test_the_library_is_mounted_for_the_engine_that_needs_it(compose: Mapping[str, Any]) -> None:
    mounted = {
        name: [volume for volume in service.get("volumes", []) if "CosyVoice" in volume]
        for name, service in compose["services"].items()
    }
    checkout = compose["services"]["library"]["environment"]["COSYSERVE_MODEL__SOURCE_DIR"]
    assert mounted == {"demo": [], "cosyserve": [], "library": [f"../../CosyVoice:{checkout}:ro"]}
    assert compose["services"]["cosyserve"]["profiles"] == ["gpu"]


def test_torch_and_torchaudio_are_of_one_version_in_every_extra() -> None:
    # A torchaudio of another version does not load: it is linked with torch's own libraries.
    for engine in ("cosyvoice", "native"):
        lines = PYPROJECT["project"]["optional-dependencies"][engine]
        pins = dict(re.split("(?=[<>=])", line, maxsplit=1) for line in lines if line.startswith("torch"))

        assert pins == {"torch": ">=2.11,<2.12", "torchaudio": ">=2.11,<2.12"}


@pytest.mark.parametrize("service", ["cosyserve", "library"])
def test_the_service_sets_settings_that_exist(
    compose: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    for name, value in compose["services"][service]["environment"].items():
        monkeypatch.setenv(name, str(value))
    settings = load_settings(ROOT / "config.toml")

    assert settings.server.api_keys == ()
    assert settings.workers.count == 1


# --- nginx --------------------------------------------------------------------------------------------------------


def directive(name: str) -> str:
    match = re.search(rf"^\s*{name}\s+(.+);", NGINX.read_text(encoding="utf-8"), re.MULTILINE)
    assert match, name
    return match[1]


def test_nginx_lets_the_server_refuse_uploads_itself() -> None:
    limit = int(directive("client_max_body_size").removesuffix("m")) * 1024 * 1024

    assert SETTINGS.server.max_upload_bytes < limit < 2 * SETTINGS.server.max_upload_bytes


def test_nginx_waits_longer_than_the_server_does() -> None:
    limits = SETTINGS.limits

    assert seconds(directive("proxy_read_timeout")) > limits.wait_timeout_s + limits.first_chunk_timeout_s
    assert seconds(directive("proxy_read_timeout")) > limits.next_chunk_timeout_s


@contextlib.contextmanager
def upstream(answer: Callable[[socket.socket], None]) -> Iterator[tuple[int, list[bytes]]]:
    """A server for one request, on the port yielded; the request's head is put into the list."""
    requests: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            requests.append(connection.recv(65536))
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], requests
        finally:
            thread.join()


def test_nginx_keeps_no_audio_for_itself() -> None:
    assert directive("proxy_buffering") == "off"


@needs("nginx")
def test_nginx_passes_audio_on_as_it_comes_and_a_broken_stream_as_broken(tmp_path: Path) -> None:
    first_chunk_arrived = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        assert first_chunk_arrived.wait(10)

    port = free_port()
    with (
        upstream(answer) as (upstream_port, requests),
        nginx(tmp_path, port, upstream_port),
        httpx.stream("POST", f"http://127.0.0.1:{port}/synthesize", content=b"text=hello", trust_env=False) as response,
    ):
        chunks = response.iter_raw()
        assert next(chunks) == b"half"
        first_chunk_arrived.set()
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)

    assert requests[0].startswith(b"POST /synthesize HTTP/1.1\r\n")
    assert b"Connection: close" not in requests[0]


@needs("nginx")
def test_nginx_passes_the_websocket_on(tmp_path: Path) -> None:
    """A page of the site itself among its clients: the server has to see the port that the page has."""
    port = free_port()
    with Server(tmp_path) as server, nginx(tmp_path, port, server.port):
        url, origin = f"ws://127.0.0.1:{port}{PATH}", f"http://127.0.0.1:{port}"
        with connect_websocket(url, origin=Origin(origin), proxy=None) as session:
            session.send('{"type": "input.text", "text": "hello."}')
            session.send('{"type": "input.done"}')
            assert any('"session.done"' in str(message) for message in session)
