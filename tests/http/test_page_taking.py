"""The page in a real browser: downloads, the command that asks for the same, and keys, which it leaves out."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from tests import sounds
from tests.engines import CHUNK_SAMPLES, expected_pcm
from tests.http.browser import DONE, STATUS_OF, NewReader, Reader, answered
from tests.serving import Server, wait_for

KEY = "a-key-of-the-house"
HARD_TEXTS = [
    "chunks=2",
    'chunks=2 it\'s $HOME `id` !x \\ "q" ;type=x\n<second> line 你好',
    "@file",
    "<file",
    "a=b&c=d+e%20",
]


class TestTakingAway:
    @pytest.mark.parametrize("audio_format", ["pcm", "mp3", "opus"])
    def test_the_download_is_the_servers_answer(
        self, reader: Reader, server: Server, tmp_path: Path, audio_format: str
    ) -> None:
        reader.speak("chunks=3")
        reader.await_text("status", DONE)
        reader.page.select_option("#format", audio_format)
        name, content = reader.download(tmp_path)
        assert name == f"speech.{audio_format}"
        assert content == answered(server, text="chunks=3", seed=reader.text("used-seed"), format=audio_format)
        reader.await_text("status", f"{name} is downloaded.")

    def test_a_wav_file_that_knows_its_length(self, reader: Reader, server: Server, tmp_path: Path) -> None:
        reader.speak("chunks=3", seed="4")
        reader.await_text("status", DONE)
        _, content = reader.download(tmp_path)
        assert int.from_bytes(content[40:44], "little") == len(content) - 44 == 3 * CHUNK_SAMPLES * 2
        assert content[44:] == answered(server, text="chunks=3", seed=4)
        assert content[8:40] == answered(server, text="chunks=3", seed=4, format="wav")[8:40]

    def test_nothing_to_download(self, reader: Reader) -> None:
        reader.page.click("#download", force=True)
        reader.await_text("status", "There is nothing to download yet.")

    @pytest.mark.parametrize("text", HARD_TEXTS)
    def test_the_command_runs_as_given(self, reader: Reader, server: Server, tmp_path: Path, text: str) -> None:
        reader.page.select_option("#format", "flac")
        with reader.page.expect_request("**/synthesize") as asked:
            reader.speak(text, seed="8", instruction="it's slow")
        reader.await_text("status", DONE)
        reader.page.click("#copy")
        reader.await_text("status", "The command is copied.")
        line: str = reader.in_page("navigator.clipboard.readText()")
        assert line == reader.page.input_value("#curl")
        assert run_command(line, tmp_path) == answered(server, text=text, seed="8", format="flac")
        fields = {"text": text, "instruction": "it's slow", "seed": "8", "format": "flac"}
        assert dict(form_strings(line)) == fields
        assert dict(parse_qsl(asked.value.post_data or "")) == {**fields, "format": "pcm"}

    def test_the_command_names_the_file(self, reader: Reader, server: Server, tmp_path: Path) -> None:
        path = tmp_path / "al \"ice's; x.wav"
        path.write_bytes(sounds.prompt())
        reader.page.check("input[value=file]")
        reader.page.set_input_files("#file", path)
        reader.page.fill("#text", "chunks=2")
        reader.page.fill("#seed", "8")
        content = run_command(reader.page.input_value("#curl"), tmp_path)
        assert content == answered(server, text="chunks=2", seed=8, prompt_wav=sounds.prompt(), format="wav")
        assert len(content) == 44 + 4 * CHUNK_SAMPLES


def form_strings(line: str) -> Iterator[list[str]]:
    """What bash makes of the command's words: each field and its value."""
    shown = f"curl() {{ printf '%s\\0' \"$@\"; }}; {line}"
    words = subprocess.run(["bash", "-c", shown], check=True, capture_output=True, text=True).stdout.split("\0")
    return (word.split("=", 1) for option, word in itertools.pairwise(words) if option == "--form-string")


def run_command(line: str, folder: Path, **env: str) -> bytes:
    """What it has written."""
    subprocess.run(["bash", "-c", line], cwd=folder, env={**os.environ, **env}, check=True, capture_output=True)
    (written,) = folder.glob("speech.*")
    return written.read_bytes()


class TestKeys:
    @pytest.fixture
    def locked(self, tmp_path: Path) -> Iterator[Server]:
        with Server(tmp_path, {"server": {"api_keys": [KEY]}}) as server:
            yield server

    def test_asked_for_kept_for_the_tab_and_left_out_of_the_command(
        self, new_reader: NewReader, locked: Server, tmp_path: Path
    ) -> None:
        reader = new_reader(locked.url)
        reader.expected = (STATUS_OF.format(401),)
        reader.await_text("error", "(401, invalid_api_key)")
        assert reader.in_page("document.activeElement.id") == "key"
        reader.page.keyboard.type("a wrong one")
        reader.page.keyboard.press("Enter")
        reader.await_text("error", "(401, invalid_api_key)")
        assert reader.text("key-hint") == "The server does not take this key."
        reader.page.fill("#key", KEY)
        reader.page.press("#key", "Enter")
        reader.await_text("status", "The key fits.")
        reader.speak("chunks=1", seed="2")
        reader.await_text("status", DONE)
        line = reader.page.input_value("#curl")
        assert KEY not in line
        content = run_command(line, tmp_path, COSYSERVE_API_KEY=KEY)
        assert content[44:] == expected_pcm(2, 1)
        assert KEY in reader.in_page("JSON.stringify(sessionStorage)")
        assert KEY not in reader.in_page("JSON.stringify(localStorage) + document.cookie + location.href")
        reader.page.reload()
        reader.await_text("voice-about", "Instruction:")
        other = reader.open()
        wait_for(lambda: "(401, invalid_api_key)" in other.locator("#error").inner_text(), "another tab to have no key")
