"""The page in a real browser: what was heard lately, to be heard again and compared."""

from pathlib import Path

import pytest

from tests import sounds
from tests.engines import CHUNK_SAMPLES, expected_pcm
from tests.http.browser import DONE, STOPPED, Reader
from tests.serving import Script, Server, wait_for

HEADER_BYTES = 44
# Every WAV file that the page makes to be heard again, by when it was made, and in base64.
_KEEP_WHAT_PLAYS = """() => {
  window.made = [];
  const make = URL.createObjectURL;
  URL.createObjectURL = (blob) => {
    window.made.push(blob);
    return make.call(URL, blob);
  };
}"""
_SAMPLES_MADE = """async () => Promise.all(made.map(async (blob) => [...new Uint8Array(await blob.arrayBuffer())]))"""


def hear(reader: Reader, *seeds: int) -> None:
    for seed in seeds:
        reader.speak("chunks=3", seed=str(seed))
        reader.await_text("used-seed", str(seed))
        reader.await_text("status", DONE)


def rows(reader: Reader) -> list[str]:
    return [row.inner_text() for row in reader.page.locator("#heard li").all()]


def replayed(reader: Reader) -> list[bytes]:
    """The samples of all that was begun to be heard again."""
    return [bytes(wav)[HEADER_BYTES:] for wav in reader.page.evaluate(_SAMPLES_MADE)]


class TestKeeping:
    def test_the_last_five_and_what_they_were(self, reader: Reader) -> None:
        assert reader.page.is_hidden("#history")
        hear(reader, 1, 2, 3, 4, 5, 6)
        kept = rows(reader)
        assert [f"seed {seed}" in row for seed, row in zip((6, 5, 4, 3, 2), kept, strict=True)] == [True] * 5
        assert all("chunks=3" in row and "default" in row and "0.30 s" in row for row in kept)
        assert f"first chunk {reader.text('first-chunk')}" in kept[0]

    def test_what_it_was_spoken_with(self, reader: Reader, tmp_path: Path) -> None:
        path = tmp_path / "alice.wav"
        path.write_bytes(sounds.prompt())
        reader.page.check("input[value=file]")
        reader.page.set_input_files("#file", path)
        reader.speak("chunks=1", instruction="slowly", speed="1.5")
        reader.await_text("status", DONE)
        assert "alice.wav" in rows(reader)[0]
        assert "slowly, × 1.5" in rows(reader)[0]

    def test_what_was_stopped_is_kept_and_what_failed_is_not(self, reader: Reader, tmp_path: Path) -> None:
        reader.expected = ("422",)
        script = Script(tmp_path, chunks=9, at=3)
        reader.speak(script.text)
        wait_for(lambda: reader.figure("audio") >= 3 * CHUNK_SAMPLES, "three chunks")
        reader.page.click("#stop")
        reader.await_text("status", STOPPED)
        wait_for(lambda: len(rows(reader)) == 1, "what was heard of it")
        reader.speak("?!")
        reader.await_text("error", "unspeakable_text")
        assert len(rows(reader)) == 1

    def test_not_more_sound_than_memory_is_meant_for(self, reader: Reader) -> None:
        """Twice 33.6 MB, of which 64 MiB hold one."""
        for seed in (1, 2):
            reader.speak("chunks=700 length=24000", seed=str(seed))
            wait_for(lambda: reader.figure("audio") == 700 * 24_000, "all to arrive")
            reader.page.click("#stop")
            reader.await_text("status", STOPPED)
            wait_for(lambda seed=seed: f"seed {seed}" in "".join(rows(reader)), "it to be kept")  # type: ignore[misc]
        assert len(rows(reader)) == 1

    def test_nowhere_but_in_memory(self, reader: Reader) -> None:
        hear(reader, 1)
        assert "chunks=3" not in reader.in_page("JSON.stringify([localStorage, sessionStorage]) + document.cookie")
        assert reader.in_page("indexedDB.databases()") == []
        reader.page.reload()
        reader.await_text("voice-about", "Instruction:")
        assert reader.page.is_hidden("#history")

    def test_one_is_forgotten_then_all(self, reader: Reader) -> None:
        hear(reader, 1, 2, 3)
        reader.page.locator("#heard .forget").nth(1).click()
        assert ["seed 3" in rows(reader)[0], "seed 1" in rows(reader)[1], len(rows(reader))] == [True, True, 2]
        assert reader.in_page("document.activeElement.className") == "play"
        reader.page.click("#clear")
        assert rows(reader) == []
        assert reader.page.is_hidden("#history")
        assert reader.in_page("document.activeElement.id") == "text"


class TestHearingAgain:
    def test_another_voice_with_the_same_seed(self, reader: Reader) -> None:
        reader.page.click("#same-seed", force=True)
        reader.await_text("status", "There is no seed yet")
        reader.speak("chunks=1")
        reader.await_text("status", DONE)
        reader.page.click("#same-seed")
        assert reader.page.input_value("#seed") == reader.text("used-seed")
        assert f"seed={reader.text('used-seed')}" in reader.page.input_value("#curl")

    def test_the_same_samples(self, reader: Reader) -> None:
        hear(reader, 1, 2)
        reader.in_page(_KEEP_WHAT_PLAYS)
        reader.page.locator("#heard .play").nth(1).click()
        reader.await_text("status", DONE)
        assert replayed(reader) == [expected_pcm(1, 3)]
        assert reader.in_page("[again.duration, again.ended]") == [pytest.approx(0.3), True]

    def test_one_after_another(self, reader: Reader) -> None:
        hear(reader, 1, 2, 3)
        reader.in_page(_KEEP_WHAT_PLAYS)
        reader.page.click("#play-all")
        wait_for(lambda: reader.in_page("made.length") == 3 and reader.text("status") == DONE, "all three to be heard")
        assert replayed(reader) == [expected_pcm(seed, 3) for seed in (3, 2, 1)]

    @pytest.mark.parametrize("how", ["row", "button", "key", "speech"])
    def test_until_something_else_is_wanted(self, reader: Reader, server: Server, how: str) -> None:
        reader.speak("chunks=300")
        wait_for(lambda: reader.figure("audio") == 300 * CHUNK_SAMPLES, "half a minute")
        reader.page.click("#stop")
        play = reader.page.locator("#heard .play").first
        play.click()
        reader.await_text("status", "Playing again.")
        assert play.get_attribute("aria-pressed") == "true"
        assert reader.page.get_attribute("#stop", "aria-disabled") == "false"
        wait_for(lambda: reader.in_page("again.currentTime") > 0, "sound")
        assert reader.page.locator("#heard .ahead").first.is_visible()
        if how == "row":
            play.click()
        elif how == "button":
            reader.page.click("#stop")
        elif how == "key":
            reader.page.keyboard.press("Escape")
        else:
            reader.speak("chunks=1")
        assert reader.in_page("again.paused")
        assert play.get_attribute("aria-pressed") == "false" or how == "speech"
        reader.await_text("status", {"row": DONE, "speech": DONE}.get(how, STOPPED))
        assert reader.page.get_attribute("#stop", "aria-disabled") == "true"

    def test_it_interrupts_what_is_spoken(self, reader: Reader, tmp_path: Path) -> None:
        hear(reader, 1)
        script = Script(tmp_path, chunks=9, at=3)
        reader.speak(script.text)
        wait_for(lambda: reader.figure("audio") >= 3 * CHUNK_SAMPLES, "three chunks")
        reader.page.locator("#heard .play").last.click()
        script.await_event("closed")
        assert "end" not in script.events()
        reader.await_text("status", DONE)
        wait_for(lambda: len(rows(reader)) == 2, "what was heard of it")
