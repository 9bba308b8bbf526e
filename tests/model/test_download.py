"""`make model` asks the hubs' real clients for the right model. The hub is a local one that has nothing.

That the download itself works is not tested: no test reaches a hub.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cosyserve.check.model_folder import MODELS, Model

ROOT = Path(__file__).parents[2]
PROGRAMS = {"modelscope": "modelscope", "huggingface": "hf"}
DISTRIBUTIONS = {"modelscope": "modelscope", "huggingface": "huggingface_hub"}
BINARIES = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


class EmptyHub(ThreadingHTTPServer):
    """Knows nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _NotFound)
        self.asked: list[str] = []


class _NotFound(BaseHTTPRequestHandler):
    server: EmptyHub

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def hub() -> Iterator[EmptyHub]:
    with EmptyHub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hub_venv(tmp_path: Path) -> Path:
    """An environment that make takes for installed, with the clients of the one we run in."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name, program in PROGRAMS.items():
        if (BINARIES / program).is_file():
            (folder / "bin" / program).symlink_to(BINARIES / program)
        (folder / f".installed-{name}").touch()
    return folder


def ask(hub: EmptyHub, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    address = f"http://127.0.0.1:{hub.server_port}"
    hubs = dict.fromkeys(("HF_ENDPOINT", "MODELSCOPE_DOMAIN", "MODELSCOPE_ENDPOINT"), address)
    plain = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    environment = {**plain, **hubs, "HOME": str(folder), "NO_PROXY": "*", "HF_HUB_OFFLINE": "0"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.full
@pytest.mark.parametrize("hub_name", PROGRAMS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_client_asks_its_hub_for_the_model(
    hub: EmptyHub, hub_venv: Path, tmp_path: Path, hub_name: str, model: Model
) -> None:
    owned: str = getattr(model, hub_name)
    name = owned.partition("/")[2]
    target = ROOT / "pretrained_models" / name
    if target.exists():
        pytest.skip("the weights are there: nothing shall happen to them")
    try:
        done = ask(hub, tmp_path, "make", "model", f"HUB={hub_name}", f"MODEL={name}", f"HUB_VENV={hub_venv}")
    finally:
        shutil.rmtree(target, ignore_errors=True)
    assert hub.asked, done.stderr
    assert all(f"/models/{owned}/" in path for path in hub.asked)
    assert f"pretrained_models/{name}" in done.stdout


@pytest.mark.full
def test_the_command_that_check_names_is_one_that_the_client_takes(hub: EmptyHub, tmp_path: Path) -> None:
    command = MODELS[0].download(tmp_path / "m", "llm.pt", "flow.pt").rpartition("&& ")[2].split()
    done = ask(hub, tmp_path, str(BINARIES / command[0]), *command[1:])
    assert hub.asked, done.stderr
    assert f"/models/{MODELS[0].modelscope}/" in hub.asked[0]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_client_is_of_the_range_that_make_installs(name: str) -> None:
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(f"client.{name} "))
    requirement = Requirement(line.split("'")[1])
    assert requirement.name == DISTRIBUTIONS[name]
    assert importlib.metadata.version(requirement.name) in requirement.specifier


def test_a_hub_that_is_not_known(tmp_path: Path, hub: EmptyHub) -> None:
    done = ask(hub, tmp_path, "make", "model", "HUB=nowhere", f"HUB_VENV={tmp_path}/venv")
    assert done.returncode != 0
    assert "HUB=nowhere is not known: modelscope and huggingface are" in done.stderr
