"""The commands in the documents, run as they stand against a real server: only its address is another."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests import sounds
from tests.serving import DEADLINE_S, ROOT, Server

pytest.importorskip("espeakng_loader", reason="the engine demo is not installed")

SHELL = (
    *("README.md", "README.zh-CN.md", "docker/README.md"),
    *("docs/api.md", "docs/gpu-server.md", "docs/measure.md", "docs/operations.md", "docs/voices.md"),
)
PYTHON = ("docs/api.md", "docs/integrations.md")
LONG = ("docs/measure.md",)
"""test_measure.py has the same in short."""
ADDRESS = re.compile(r"http://(127\.0\.0\.1|localhost):50000")
# Quiet, and an answer that is an error is a failure.
STRICT_CURL = 'curl() { command curl -sS --fail-with-body "$@"; }\n'
# Where there is no player, its place is kept.
PLAYER = "set -o pipefail; command -v ffplay >/dev/null || ffplay() { cat >/dev/null; }\n"
INSTALLING = re.compile(r"(git|make|python\S*|docker|\.venv/bin/(pip|cosyserve)) ")
"""What begins so is run by the tests of `make` and of the wheel, or wants what is not here: test_documents.py
reads it.
"""


def blocks(language: str, documents: tuple[str, ...]) -> list[ParameterSet]:
    """Every such block of the documents that uses the server, with its place."""
    found = []
    for document in documents:
        text = (ROOT / document).read_text(encoding="utf-8")
        for block in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if INSTALLING.match(block[1]) or not can_be_imported(block[1]):
                continue
            line = text.count("\n", 0, block.start()) + 1
            found.append(pytest.param(block[1], id=f"{document}:{line}", marks=[pytest.mark.full][: document in LONG]))
    return found


def can_be_imported(code: str) -> bool:
    """Whether all is installed that the code, if it is Python's, imports: tests/clients has what is not."""
    return all(find_spec(name) for name in re.findall(r"^from (\w+)[\w.]* import", code, re.MULTILINE))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": "asset/zero_shot_prompt.wav"}}
    with Server(tmp_path_factory.mktemp("documented"), settings) as server:
        yield server


def run(server: Server, folder: Path, *command: str) -> None:
    (folder / "alice.wav").write_bytes(sounds.prompt(4, 22_050))
    here = ADDRESS.sub(server.url, command[-1]).replace(".venv/bin", str(Path(sys.executable).parent))
    assert here != command[-1]
    env = {**os.environ, "COSYSERVE_URL": server.url, "SDL_AUDIODRIVER": "dummy"}
    whole = (*command[:-1], here)
    done = subprocess.run(whole, cwd=folder, env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    named = re.findall(r"(?:--output |\" -o |_to_file\(\")([\w.]+)", command[-1])
    for name in named:
        assert (folder / name).stat().st_size > 1_000, name


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("block", blocks("bash", SHELL))
def test_shell(demo: Server, tmp_path: Path, block: str) -> None:
    run(demo, tmp_path, "bash", "-euc", PLAYER + STRICT_CURL + block)


@pytest.mark.parametrize("block", blocks("python", PYTHON))
def test_python(demo: Server, tmp_path: Path, block: str) -> None:
    run(demo, tmp_path, sys.executable, "-c", block)
