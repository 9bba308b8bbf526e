"""A server killed with -9 while a hundred voices come in: what it acknowledged is there, and nothing is half there."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests import sounds
from tests.http.test_voices import VOICES
from tests.serving import Server

UPLOADS = 100


def audio(number: int) -> bytes:
    """A recording of its own for each voice, large enough to be torn."""
    return sounds.prompt(seconds=2, rate=48_000, hertz=200 + number)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


@pytest.mark.parametrize("kill_after", [1, 40])
def test_killed_during_uploads(tmp_path: Path, threads: ThreadPoolExecutor, kill_after: int) -> None:
    store, first, second = (tmp_path / name for name in ("store", "first", "second"))
    for folder in (first, second):
        folder.mkdir()
    acknowledged: list[int] = []
    enough = threading.Event()

    def upload(number: int) -> None:
        form = {"name": f"voice-{number}", "ref_text": f"text {number}"}
        try:
            answer = httpx.post(
                server.url + VOICES, data=form, files={"audio_sample": audio(number)}, timeout=60, trust_env=False
            )
        except httpx.TransportError:
            return
        assert answer.status_code == 201
        acknowledged.append(number)
        if len(acknowledged) >= kill_after:
            enough.set()

    with Server(first, {"voices": {"dir": str(store)}}) as server:
        uploads = [threads.submit(upload, number) for number in range(UPLOADS)]
        assert enough.wait(60)
        server.signal(9)
        for done in uploads:
            done.result()
    assert kill_after <= len(acknowledged) < UPLOADS

    with Server(second, {"voices": {"dir": str(store)}}) as server:
        listed = {voice["name"]: voice for voice in server.get(VOICES).json()["uploaded_voices"]}
        assert {f"voice-{number}" for number in acknowledged} <= set(listed)
        for name, voice in listed.items():
            number = int(name.removeprefix("voice-"))
            assert voice["ref_text"] == f"text {number}"
            assert server.get(f"{VOICES}/{name}/audio").content == audio(number)
            assert server.speak(text="chunks=1", voice=name).headers["x-synthesis-mode"] == "zero_shot"
        assert not list(store.glob("*.part"))
        assert len(list(store.iterdir())) == len(listed)
