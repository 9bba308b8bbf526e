"""The page in a real browser: what is heard of a text, and when it stops."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engines import CHUNK_SAMPLES, expected_pcm
from tests.http.browser import DONE, SPEAKING, STATUS_OF, STOPPED, Feed, Reader, answered, samples, sounding
from tests.serving import Script, Server, wait_for

LEAD = 1200
"""Frames at 24 kHz from a part's coming to its sound where nothing plays, without the loudspeaker's own latency."""
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
        # The log's line is written when the connection has gone already.
        wait_for(
            lambda: any(line.get("request_id") == request_id for line in server.logs("speech")),
            "the line of the request",
        )

    def test_nothing_chosen(self, reader: Reader) -> None:
        reader.page.check("input[value=file]")
        reader.speak("chunks=1")
        reader.await_text("error", "Choose an audio file first.")
        reader.page.check("input[value=recording]")
        reader.speak("chunks=1")
        reader.await_text("error", "Record something first.")


class TestWords:
    def test_what_will_be_said_is_shown_while_it_is_written(self, reader: Reader) -> None:
        reader.page.fill("#text", "It costs $5, all of it.")
        reader.await_text("words", "Read as: It costs five dollars, all of it.")

    def test_what_is_said_as_it_is_written_is_not_shown_twice(self, reader: Reader) -> None:
        reader.page.fill("#text", "It costs $5.")
        reader.await_text("words", "five dollars")
        reader.page.fill("#text", "It costs nothing.")
        wait_for(lambda: reader.text("words") == "", "the words to go")

    def test_what_cannot_be_read_is_told(self, reader: Reader) -> None:
        reader.expected = (STATUS_OF.format(422),)
        reader.page.fill("#text", "<speak>Hello <nobody>there</nobody></speak>")
        reader.await_text("words", "nobody")
