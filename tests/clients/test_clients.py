"""Clients that docs/integrations.md names, as they are published: installed for the test, and run unchanged."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Server

HERE = Path(__file__).parent
TEXTS = ("Hello there, what can I get you?", "👍", "......", "Good bye.")
"""A chat's sentences: what cannot be spoken must not hold up what follows."""
SILENCE_S = 0.5
INSTALLING_S = 900
SAYING_S = 120

pytestmark = [pytest.mark.full, pytest.mark.timeout(INSTALLING_S + 5 * SAYING_S)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": "asset/zero_shot_prompt.wav"}}
    with Server(tmp_path_factory.mktemp("clients"), settings) as server:
        yield server


def run(*command: str | Path, cwd: Path, timeout_s: float) -> str:
    """What it printed. Its environment is ours, without Python's paths: it must find its own packages."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, encoding="utf-8", timeout=timeout_s, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python_with(folder: Path, *packages: str) -> Path:
    """The interpreter of a new virtual environment that has them."""
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder, timeout_s=INSTALLING_S)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *packages, cwd=folder, timeout_s=INSTALLING_S)
    return python


def say(demo: Server, interpreter: str | Path, script: Path, model: str) -> Any:
    printed = run(interpreter, script, demo.url, model, *TEXTS, cwd=script.parent, timeout_s=SAYING_S)
    return json.loads(printed.splitlines()[-1])


def check(seconds: list[float]) -> None:
    first, *unspeakable, last = seconds
    assert first > SILENCE_S
    assert last > SILENCE_S
    assert all(0 < silence <= SILENCE_S for silence in unspeakable)


def test_livekit(demo: Server, tmp_path: Path) -> None:
    python = python_with(tmp_path, "livekit-agents>=1.8,<2", "livekit-plugins-openai>=1.8,<2")
    for model in ("tts-1", "gpt-4o-mini-tts"):
        # Told by a file, and by server-sent events.
        check(say(demo, python, HERE / "livekit_agent.py", model))


def test_pipecat(demo: Server, tmp_path: Path) -> None:
    python = python_with(tmp_path, "pipecat-ai[openai]>=1.14,<2")
    check(say(demo, python, HERE / "pipecat_agent.py", "tts-1"))


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_javascript(demo: Server, tmp_path: Path) -> None:
    """OpenAI's client and the AI SDK."""
    run("npm", "install", "--silent", "openai@6", "ai@6", "@ai-sdk/openai@3", cwd=tmp_path, timeout_s=INSTALLING_S)
    script = shutil.copy(HERE / "say.mjs", tmp_path)
    header, bytes_a_second = 44, 2 * 24_000
    for sizes in say(demo, "node", Path(script), "tts-1").values():
        check([(size - header) / bytes_a_second for size in sizes])
