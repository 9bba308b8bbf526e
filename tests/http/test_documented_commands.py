"""The commands in the documents, run as they stand against a real server: only its address is another."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests import sounds
from tests.serving import DEADLINE_S, ROOT, Server

pytest.importorskip("espeakng_loader", reason="the engine demo is not installed")

DOCUMENTS = ("docs/api.md", "docs/voices.md")
ADDRESS = "http://127.0.0.1:50000"
# Quiet, and an answer that is an error is a failure.
STRICT_CURL = 'curl() { command curl -sS --fail-with-body "$@"; }\n'


def blocks(language: str) -> list[ParameterSet]:
    """Every such block of the documents, with its place."""
    found = []
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for block in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 1
            found.append(pytest.param(block[1], id=f"{document}:{line}"))
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": "asset/zero_shot_prompt.wav"}}
    with Server(tmp_path_factory.mktemp("documented"), settings) as server:
        yield server


def run(server: Server, folder: Path, *command: str) -> None:
    (folder / "alice.wav").write_bytes(sounds.prompt(4, 22_050))
    assert ADDRESS in command[-1]
    whole = (*command[:-1], command[-1].replace(ADDRESS, server.url))
    done = subprocess.run(whole, cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    named = re.findall(r"(?:--output |_to_file\(\")([\w.]+)", command[-1])
    for name in named:
        assert (folder / name).stat().st_size > 1_000, name


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("block", blocks("bash"))
def test_shell(demo: Server, tmp_path: Path, block: str) -> None:
    run(demo, tmp_path, "bash", "-euc", STRICT_CURL + block)


@pytest.mark.parametrize("block", blocks("python"))
def test_python(demo: Server, tmp_path: Path, block: str) -> None:
    run(demo, tmp_path, sys.executable, "-c", block)
