"""Clients that docs/integrations.md names, as they are published: installed for the test, and run unchanged."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cosyserve.audio.formats import AudioFormat
from tests.decoding import decode
from tests.serving import Server, Tables, free_port, wait_for

HERE = Path(__file__).parent
TEXTS = ("Hello there, what can I get you?", "👍", "......", "Good bye.")
"""A chat's sentences: what cannot be spoken must not hold up what follows."""
SILENCE_S = 0.5
INSTALLING_S = 900
SAYING_S = 120
KEY = "a-key-of-open-webui"
SETTINGS: Tables = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": "asset/zero_shot_prompt.wav"}}

pytestmark = [pytest.mark.full, pytest.mark.timeout(INSTALLING_S + 5 * SAYING_S)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("clients"), SETTINGS) as server:
        yield server


def surroundings(**more: str) -> dict[str, str]:
    """Our environment without Python's paths: clients must find their own packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | more


def run(*command: str | Path, cwd: Path, timeout_s: float) -> str:
    """What it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=surroundings(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
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


def test_open_webui(tmp_path: Path) -> None:
    """Set as docs/integrations.md says, beside a server with keys; asked as its own page asks it."""
    python = python_with(tmp_path, "open-webui>=0.12.4,<0.13")
    settings = {**SETTINGS, "server": {"api_keys": [KEY], "public_names": True}}
    with Server(tmp_path, settings) as server, open_webui(python, server, tmp_path) as page:
        assert page.get("/api/v1/audio/voices").json() == {"voices": [{"id": "default", "name": "default"}]}
        models = page.get("/api/v1/audio/models").json()["models"]
        assert [model["id"] for model in models] == ["demo", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
        check([seconds_of(page, text) for text in TEXTS])
    # Gigabytes, which pytest would keep.
    shutil.rmtree(tmp_path / "venv")


@contextmanager
def open_webui(python: Path, server: Server, folder: Path) -> Iterator[httpx.Client]:
    """Somebody who has signed in to one that speaks by the server, and fetches nothing from elsewhere."""
    port = free_port()
    environment = surroundings(
        DATA_DIR=str(folder / "data"),
        WEBUI_AUTH="False",
        WEBUI_SECRET_KEY="of nobody",
        OFFLINE_MODE="true",
        RAG_EMBEDDING_ENGINE="openai",
        AUDIO_TTS_ENGINE="openai",
        AUDIO_TTS_OPENAI_API_BASE_URL=f"{server.url}/v1",
        AUDIO_TTS_OPENAI_API_KEY=KEY,
    )
    command: list[str | Path] = [python.with_name("open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (folder / "open-webui.log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SAYING_S) as client,
    ):
        try:
            wait_for(lambda: answers(client), "Open WebUI", INSTALLING_S)
            signed_in = client.post("/api/v1/auths/signin", json={"email": "", "password": ""}).json()
            client.headers["Authorization"] = f"Bearer {signed_in['token']}"
            yield client
        finally:
            process.terminate()


def answers(client: httpx.Client) -> bool:
    """Whether it is up."""
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False


def seconds_of(page: httpx.Client, text: str) -> float:
    """How long what is heard of a text lasts."""
    answer = page.post("/api/v1/audio/speech", json={"model": "tts-1", "input": text, "voice": "default"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")
    samples, rate = decode(AudioFormat.MP3, answer.content, 0)
    return len(samples) / rate
