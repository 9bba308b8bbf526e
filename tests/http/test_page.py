"""The page in a real browser: what is heard, told, stored and downloaded, and that it asks nobody but the server."""

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser

from tests import sounds
from tests.engines import CHUNK_SAMPLES, expected_pcm
from tests.http import browser as browsers
from tests.http.browser import FOREIGN_HOST, Feed, Reader, sounding
from tests.serving import Script, Server, wait_for

KEY = "a-key-of-the-house"
LEAD = 1200
"""Frames at 24 kHz from a part's coming to its sound where nothing plays, without the loudspeaker's own latency."""
DONE, STOPPED, SPEAKING = "Done.", "Stopped.", "Speaking."
STATUS_OF = "the server responded with a status of {}"
HARD_TEXTS = [
    "chunks=2",
    'chunks=2 it\'s $HOME `id` !x \\ "q" ;type=x\n<second> line 你好',
    "@file",
    "<file",
    "a=b&c=d+e%20",
]
_CUT_EVERY_999_BYTES = """() => {
const whole = fetch;
window.fetch = async (...asked) => {
  const answer = await whole(...asked);
  const cut = new TransformStream({
    transform(bytes, to) { for (let at = 0; at < bytes.length; at += 999) to.enqueue(bytes.slice(at, at + 999)); },
  });
  return new Response(answer.body.pipeThrough(cut), answer);
};
}
"""

NewReader = Callable[..., Reader]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.launched() as launched:
        yield launched


@pytest.fixture
def new_reader(browser: Browser) -> Iterator[NewReader]:
    readers: list[Reader] = []

    def new(url: str, **options: str) -> Reader:
        readers.append(Reader(browser, url, **options))
        return readers[-1]

    yield new
    for reader in readers:
        reader.close()


@pytest.fixture
def reader(new_reader: NewReader, server: Server) -> Reader:
    reader = new_reader(server.url)
    reader.await_text("voice-about", "Instruction:")
    return reader


def samples(pcm: bytes) -> NDArray[np.int16]:
    return np.frombuffer(pcm, "<i2").astype(np.int16)


def answered(server: Server, **fields: str | int | bytes) -> bytes:
    answer = server.post("/synthesize", None, **fields)
    assert answer.status_code == 200, answer.text
    return answer.content


def assert_heard(reader: Reader, told: NDArray[np.int16]) -> None:
    """Every sample once and in order, and silence between them only where the page has told that it ran dry."""
    wait_for(lambda: len(sounding(reader.heard())) >= len(sounding(told)), "the last sample")
    heard = reader.heard()
    assert np.array_equal(sounding(heard), sounding(told))
    if not reader.figure("underruns"):
        assert np.array_equal(np.trim_zeros(heard), np.trim_zeros(told))


class TestHearing:
    def test_every_sample_once_and_in_order(self, reader: Reader, server: Server) -> None:
        reader.speak("chunks=20", seed="7")
        reader.await_text("status", DONE)
        told = samples(answered(server, text="chunks=20", seed=7))
        assert reader.figure("audio") == len(told) == 20 * CHUNK_SAMPLES
        assert_heard(reader, told)

    def test_wherever_the_network_cuts(self, reader: Reader) -> None:
        reader.in_page(_CUT_EVERY_999_BYTES)
        reader.speak("chunks=3", seed="6")
        reader.await_text("status", DONE)
        assert_heard(reader, samples(expected_pcm(6, 3)))

    def test_the_figures(self, reader: Reader) -> None:
        reader.speak("chunks=3", seed="11")
        reader.await_text("status", DONE)
        assert reader.text("used-seed") == "11"
        assert reader.text("audio") == "0.30 s"
        assert reader.figure("first-chunk") > 0
        assert reader.text("first-chunk").endswith(" ms")
        assert reader.figure("real-time-factor") > 0

    def test_it_plays_before_the_end_and_counts_what_runs_dry(self, reader: Reader, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=2, at=1)
        reader.speak(script.text, seed="5")
        # All of the first chunk is out, and the second is not made yet.
        first = sounding(samples(expected_pcm(5, 1)))
        wait_for(lambda: len(sounding(reader.heard())) == len(first), "the first chunk to be heard")
        assert reader.text("status") == SPEAKING
        underruns = reader.figure("underruns")
        script.open_gate()
        reader.await_text("status", DONE)
        assert reader.figure("underruns") > underruns
        assert_heard(reader, samples(expected_pcm(5, 2)))

    def test_again_and_again_in_one_page(self, reader: Reader) -> None:
        told = b""
        for seed in (1, 2, 3):
            reader.speak("chunks=2", seed=str(seed))
            reader.await_text("used-seed", str(seed))
            reader.await_text("status", DONE)
            told += expected_pcm(seed, 2)
        wait_for(lambda: len(sounding(reader.heard())) >= len(sounding(samples(told))), "the last sample")
        assert np.array_equal(sounding(reader.heard()), sounding(samples(told)))

    def test_instruction_speed_and_seed_reach_the_engine(self, reader: Reader, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=1)
        reader.speak(script.text, instruction="slowly", speed="1.5", seed="3")
        reader.await_text("status", DONE)
        (request,) = [event for event in script.events() if event.startswith("request")]
        assert '"instruction": "slowly<|endofprompt|>"' in request
        assert '"speed": 1.5' in request


class TestSchedule:
    """What the player makes of parts whenever they come, in a time that the test keeps: exact on any machine."""

    @pytest.mark.parametrize("rate", [22_050, 24_000])
    def test_a_part_begins_on_any_frame(self, reader: Reader, rate: int) -> None:
        # Beside a loud sample, silence and the least sound show the least of the other.
        parts = np.random.default_rng(0).choice(np.array([-32768, -1, 0, 1, 32767]), (300, 101))
        rendered, underruns = reader.rendered(rate, 40_000, [Feed(part.tolist()) for part in parts])
        assert np.array_equal(np.trim_zeros(rendered), np.trim_zeros(parts.ravel()))
        assert underruns == 0

    @pytest.mark.parametrize(
        ("left", "dry"), [(512, False), (256, False), (255, True), (1, True), (0, True), (-99, True)]
    )
    def test_a_part_joins_the_last_or_waits_for_a_lead(self, reader: Reader, left: int, dry: bool) -> None:
        first, second = noise(4096 - LEAD + left), noise(500)
        rendered, underruns = reader.rendered(24_000, 8192, [Feed(first), Feed(second, at=4096)])
        silence = LEAD - left if dry else 0
        assert np.array_equal(np.trim_zeros(rendered), [*first, *[0] * silence, *second])
        assert underruns == dry

    def test_one_that_starts_late_is_not_mixed_with_the_next(self, reader: Reader) -> None:
        first, second, third = noise(4096 - LEAD - 99), noise(500), noise(500)
        feeds = [Feed(first), Feed(second, at=4096, late=480), Feed(third, at=4224)]
        rendered, underruns = reader.rendered(24_000, 8192, feeds)
        assert sounding(rendered).tolist() == [*first, *second, *third]
        assert underruns == 1


def noise(length: int) -> list[int]:
    """Samples without a zero."""
    return [int(sample) for sample in np.random.default_rng(length).integers(1, 32768, length)]


class TestStopping:
    @pytest.mark.parametrize("how", ["button", "key"])
    def test_silence_and_a_free_stream(self, reader: Reader, server: Server, tmp_path: Path, how: str) -> None:
        script = Script(tmp_path, chunks=601, at=600)
        reader.speak(script.text)
        wait_for(lambda: len(reader.heard()) > 0, "sound")
        if how == "button":
            reader.page.click("#stop")
        else:
            reader.page.keyboard.press("Escape")
        reader.await_text("status", STOPPED)
        # What the audio thread had under way when it was told; then nothing more.
        reader.await_blocks(4)
        heard = len(sounding(reader.heard()))
        reader.await_blocks(12)
        assert len(sounding(reader.heard())) == heard < 590 * CHUNK_SAMPLES
        script.await_event("closed")
        assert "end" not in script.events()
        server.await_idle()
        assert reader.page.get_attribute("#stop", "aria-disabled") == "true"

    def test_speaking_anew_interrupts(self, reader: Reader, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=100, at=99)
        reader.speak(script.text)
        reader.await_text("speak", "Speak anew")
        wait_for(lambda: len(reader.heard()) > 0, "sound")
        reader.speak("chunks=2", seed="9")
        script.await_event("closed")
        assert "end" not in script.events()
        reader.await_text("status", DONE)
        last = sounding(samples(expected_pcm(9, 2)))
        wait_for(lambda: np.array_equal(sounding(reader.heard())[-len(last) :], last), "the new text alone")
        assert reader.text("speak") == "Speak"

    def test_nothing_to_stop(self, reader: Reader) -> None:
        reader.page.click("#stop", force=True)
        assert reader.text("status") == ""


class TestRefusals:
    def test_the_servers_own_words(self, reader: Reader) -> None:
        reader.expected = (STATUS_OF.format(422),)
        reader.speak("?!")
        reader.await_text("error", "text has neither letters nor digits: nothing can be spoken (422, unspeakable_text)")
        assert reader.page.get_attribute("#error", "role") == "alert"
        reader.speak("chunks=1", seed="-1")
        reader.await_text("error", "(422, invalid_field)")
        reader.speak("chunks=1", seed="")
        reader.await_text("status", DONE)
        assert reader.text("error") == ""

    def test_a_stream_that_breaks_off(self, reader: Reader, server: Server) -> None:
        reader.expected = ("ERR_INCOMPLETE_CHUNKED_ENCODING",)
        reader.speak("chunks=3 fail=2")
        reader.await_text("error", "broke off in the middle")
        request_id = reader.text("error").split()[-1].rstrip(".")
        assert any(line.get("request_id") == request_id for line in server.logs("speech"))

    def test_nothing_chosen(self, reader: Reader) -> None:
        reader.page.check("input[value=file]")
        reader.speak("chunks=1")
        reader.await_text("error", "Choose an audio file first.")
        reader.page.check("input[value=recording]")
        reader.speak("chunks=1")
        reader.await_text("error", "Record something first.")


class TestVoices:
    def test_a_file_once(self, reader: Reader, tmp_path: Path) -> None:
        script, path = Script(tmp_path, chunks=1), tmp_path / "alice.wav"
        path.write_bytes(sounds.prompt(3.0))
        reader.page.check("input[value=file]")
        reader.page.set_input_files("#file", path)
        reader.page.fill("#prompt-text", "what she says")
        reader.speak(script.text)
        reader.await_text("status", DONE)
        (request,) = [event for event in script.events() if event.startswith("request")]
        assert '"mode": "zero_shot"' in request
        assert '"prompt_text": "what she says"' in request
        assert '"prompt_samples": 48000' in request

    def test_stored_used_heard_and_deleted(self, reader: Reader, server: Server, tmp_path: Path) -> None:
        script, path = Script(tmp_path, chunks=1), tmp_path / "bob.wav"
        path.write_bytes(sounds.prompt(2.5))
        reader.page.check("input[value=file]")
        reader.page.set_input_files("#file", path)
        reader.page.fill("#prompt-text", "what he says")
        reader.page.fill("#name", "鲍勃-1")
        reader.page.press("#name", "Enter")
        reader.await_text("status", "The voice 鲍勃-1 is stored.")
        assert server.get("/v1/audio/voices/鲍勃-1/audio").content == path.read_bytes()
        assert reader.page.input_value("#voice") == "鲍勃-1"
        assert reader.text("voice-about") == "Text: what he says"
        reader.speak(script.text)
        reader.await_text("status", DONE)
        assert '"prompt_samples": 40000' in script.events()[1]
        reader.page.click("#listen")
        wait_for(lambda: reader.in_page("document.getElementById('preview').duration") == 2.5, "the preview")
        reader.page.once("dialog", lambda dialog: dialog.accept())
        reader.page.click("#delete")
        reader.await_text("status", "The voice 鲍勃-1 is deleted.")
        assert server.get("/v1/audio/voices/鲍勃-1").status_code == 404
        assert reader.page.input_value("#voice") == "default"

    def test_recorded_used_and_stored(self, reader: Reader, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=1)
        reader.page.check("input[value=recording]")
        reader.page.click("#record")
        reader.await_text("record", "Stop recording")
        assert reader.page.get_attribute("#record", "aria-pressed") == "true"
        wait_for(lambda: float(reader.text("recorded").partition(" ")[0] or 0) >= 2, "two seconds of recording")
        reader.page.click("#record")
        reader.await_text("status", "Recorded")
        reader.speak(script.text)
        reader.await_text("status", DONE)
        request = script.events()[1]
        assert '"mode": "cross_lingual"' in request
        reader.page.fill("#name", "recorded")
        reader.page.click("#store")
        reader.await_text("status", "The voice recorded is stored.")
        voice = server.get("/v1/audio/voices/recorded").json()
        assert voice["duration_s"] > 1.9
        assert voice["mime_type"] == "audio/wav"
        server.delete("/v1/audio/voices/recorded")

    def test_refused_ones(self, reader: Reader, tmp_path: Path) -> None:
        reader.expected = (STATUS_OF.format(422),)
        path = tmp_path / "noise.wav"
        path.write_bytes(b"no sound at all")
        reader.page.check("input[value=file]")
        reader.page.set_input_files("#file", path)
        reader.page.fill("#name", "noise")
        reader.page.click("#store")
        reader.await_text("error", "(422, invalid_prompt)")
        reader.page.fill("#name", "../noise")
        path.write_bytes(sounds.prompt())
        reader.page.set_input_files("#file", path)
        reader.page.click("#store")
        reader.await_text("error", "(422, invalid_voice_name)")


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


class TestReaders:
    def test_by_keyboard_alone(self, reader: Reader, tmp_path: Path) -> None:
        """Every control is reached and shows that it has the focus; text is spoken and stopped without a mouse."""
        reached: list[list[str]] = []
        for _ in range(40):
            reader.page.keyboard.press("Tab")
            focused = reader.in_page(
                "((one) => [one.id || one.name, getComputedStyle(one).outlineStyle])(document.activeElement)"
            )
            if not focused[0] and reached and reached[-1][0] == "copy":
                break
            reached.append(focused)
        names = [name for name, _ in reached]
        for name in ("language", "text", "source", "voice", "listen", "instruction", "speed", "format", "seed"):
            assert name in names
        assert names[-5:] == ["speak", "stop", "download", "curl", "copy"]
        assert {outline for name, outline in reached if name} == {"solid"}
        reader.page.focus("#text")
        reader.page.keyboard.press("Control+a")
        reader.page.keyboard.type(Script(tmp_path, chunks=2, at=1).text)
        reader.page.keyboard.press("Control+Enter")
        reader.await_text("status", SPEAKING)
        reader.page.keyboard.press("Escape")
        reader.await_text("status", STOPPED)

    def test_every_control_has_a_name(self, reader: Reader) -> None:
        for source in ("stored", "file", "recording"):
            reader.page.check(f"input[value={source}]")
            nameless = reader.in_page(
                """[...document.querySelectorAll("input, select, textarea, button, meter, audio, output")]
                .filter((one) => !one.labels?.length && !one.ariaLabel && !one.textContent.trim())
                .map((one) => one.id || one.outerHTML)"""
            )
            assert nameless == []
        assert reader.page.get_attribute("#status", "role") == "status"

    def test_the_demo_engine_says_that_it_is_one(self, new_reader: NewReader, tmp_path: Path) -> None:
        with Server(tmp_path, {"model": {"engine": "demo"}}) as demo:
            reader = new_reader(demo.url)
            reader.await_text("engine", "espeak-ng")
            reader.speak("Hello.")
            reader.await_text("status", DONE)
            assert reader.figure("audio") > 4_000
            wait_for(lambda: np.abs(reader.heard()).max(initial=0) > 1_000, "speech")

    def test_in_chinese_and_back(self, new_reader: NewReader, server: Server) -> None:
        reader = new_reader(server.url, locale="zh-CN")
        reader.await_text("voice-about", "指令:")
        assert reader.page.input_value("#text").startswith("欢迎光临")
        assert reader.in_page("document.documentElement.lang") == "zh"
        reader.speak("chunks=1")
        reader.await_text("status", "完成。")
        reader.page.click("#language")
        assert reader.text("status") == DONE
        assert reader.text("speak") == "Speak"
        assert reader.text("language") == "中文"
        assert reader.in_page("document.documentElement.lang") == "en"
        reader.page.reload()
        reader.await_text("voice-about", "Instruction:")
        assert reader.text("speak") == "Speak"

    def test_without_a_trusted_origin_it_speaks_and_says_why_it_cannot_record(
        self, browser: Browser, server: Server
    ) -> None:
        reader = Reader(browser, f"http://{FOREIGN_HOST}:{server.port}")
        assert reader.in_page("isSecureContext") is False
        reader.page.check("input[value=recording]")
        assert reader.page.is_disabled("#record")
        assert "HTTPS or on localhost" in reader.text("record-hint")
        reader.page.check("input[value=stored]")
        reader.speak("chunks=2")
        reader.await_text("status", DONE)
        assert reader.figure("audio") == 2 * CHUNK_SAMPLES
        reader.page.click("#copy")
        reader.await_text("status", "The command is")
        reader.close()

    def test_nothing_sticks_out(self, reader: Reader) -> None:
        reader.page.fill("#text", "x" * 500)
        for width, source in itertools.product((320, 390, 1280), ("stored", "file", "recording")):
            reader.page.set_viewport_size({"width": width, "height": 800})
            reader.page.check(f"input[value={source}]")
            assert reader.in_page("document.documentElement.scrollWidth") <= width
