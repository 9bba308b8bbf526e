"""The page in a real browser: the timeline of an utterance, in its picture and in words."""

from pathlib import Path
from typing import Any

import pytest

from tests.engines import CHUNK_SAMPLES, expected_pcm
from tests.http.browser import DONE, SPEAKING, STOPPED, Reader, samples, sounding
from tests.serving import Script, wait_for

pytestmark = pytest.mark.full

# Where a lane of the picture has a colour of the page: columns, from 0 to 1 of the width.
_COLUMNS_OF = """([colour, lane]) => {
  const canvas = document.getElementById("course"), { width, height } = canvas;
  const copyOf = (paint) => {
    const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    paint(pen);
    return pen;
  };
  const probe = copyOf((pen) => {
    pen.fillStyle = getComputedStyle(canvas).getPropertyValue(colour);
    pen.fillRect(0, 0, 1, 1);
  });
  const wanted = probe.getImageData(0, 0, 1, 1).data.join();
  const third = Math.round(height / 3), [top, rows] = lane === "upper" ? [0, third] : [third, 2 * third];
  const { data } = copyOf((pen) => pen.drawImage(canvas, 0, 0)).getImageData(0, top, width, rows);
  const found = new Set();
  for (let i = 0; i < data.length; i += 4) {
    if (data.subarray(i, i + 4).join() === wanted) found.add((i / 4) % width);
  }
  return [...found].sort((one, other) => one - other).map((column) => column / width);
}"""
_COUNT_DRAWINGS = """() => {
  window.drawings = window.frames_asked = 0;
  const { getContext } = HTMLCanvasElement.prototype, ask = window.requestAnimationFrame;
  HTMLCanvasElement.prototype.getContext = function (...asked) {
    window.drawings += 1;
    return getContext.apply(this, asked);
  };
  window.requestAnimationFrame = (frame) => { window.frames_asked += 1; return ask(frame); };
  window.frameGone = () => new Promise((gone) => ask(() => ask(gone)));
}"""


def columns(reader: Reader, colour: str, lane: str) -> list[float]:
    found: list[float] = reader.page.evaluate(_COLUMNS_OF, [f"--{colour}", lane])
    return found


def of_course(reader: Reader, script: str) -> Any:
    """What JavaScript says of a `course`, to which it may do what the page does."""
    return reader.page.evaluate(
        f"""async () => {{
  const {{ Course }} = await import("/page/course.js");
  const course = new Course(), sound = (length) => new Int16Array(length).fill(16384);
  {script}
}}"""
    )


class TestPicture:
    def test_what_came_is_above_what_is_heard(self, reader: Reader) -> None:
        assert not columns(reader, "accent", "upper")
        reader.speak("chunks=5")
        reader.await_text("status", DONE)
        first, heard = columns(reader, "accent", "upper")[0], columns(reader, "accent", "lower")
        assert 0 < first < heard[0] < heard[-1] < 1
        assert bool(columns(reader, "warning", "lower")) == bool(reader.figure("underruns"))
        latency = columns(reader, "tint", "upper")
        assert latency[0] < first
        assert max(latency) <= first + 0.01
        assert reader.text("sound-told").startswith("Sound: 0.50 s")
        assert f"the first after {reader.text('first-chunk')}" in reader.text("arrivals-told")

    def test_a_gap_lies_between_what_is_heard(self, reader: Reader, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=2, at=1)
        reader.speak(script.text, seed="5")
        first = sounding(samples(expected_pcm(5, 1)))
        wait_for(lambda: len(sounding(reader.heard())) == len(first), "the first chunk to be heard")
        # Half a second of nothing, in the time of what renders the sound.
        reader.await_blocks(12)
        wait_for(lambda: reader.in_page("playhead.className") == "dry", "the playhead to tell")
        script.open_gate()
        reader.await_text("status", DONE)
        gap, heard = columns(reader, "warning", "lower"), columns(reader, "accent", "lower")
        assert heard[0] < gap[0] < gap[-1] < heard[-1]
        assert f"Gaps: {reader.text('underruns')}, " in reader.text("sound-told")
        assert columns(reader, "accent", "upper")[-1] > gap[0]
        assert reader.in_page("playhead.className") == ""

    def test_the_playhead_goes_along_and_leaves_what_nobody_hears_pale(self, reader: Reader, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=200, at=199)
        reader.speak(script.text)
        reader.await_text("status", SPEAKING)
        was = head(reader)
        wait_for(lambda: head(reader) > was, "the playhead to go on")
        reader.page.click("#stop")
        reader.await_text("status", STOPPED)
        wait_for(lambda: reader.page.is_hidden("#playhead"), "the playhead to go")
        assert reader.page.is_visible("#ahead")
        reader.speak("chunks=1")
        reader.await_text("status", DONE)
        wait_for(lambda: reader.page.is_hidden("#ahead"), "all to be heard")

    def test_in_the_dark(self, reader: Reader) -> None:
        reader.speak("chunks=3")
        reader.await_text("status", DONE)
        reader.page.emulate_media(color_scheme="dark")
        wait_for(lambda: columns(reader, "accent", "lower"), "the dark colours")

    @pytest.mark.parametrize("motion", ["no-preference", "reduce"])
    def test_nothing_is_drawn_while_nothing_changes(self, reader: Reader, motion: Any) -> None:
        reader.page.emulate_media(reduced_motion=motion)
        reader.in_page(_COUNT_DRAWINGS)
        reader.speak("chunks=3")
        reader.await_text("status", DONE)
        wait_for(lambda: reader.page.is_hidden("#playhead"), "the last drawing")
        reader.in_page("frameGone()")
        drawn = reader.in_page("[drawings, frames_asked]")
        reader.in_page("frameGone()")
        assert reader.in_page("[drawings, frames_asked]") == drawn
        assert drawn[0] > 0
        assert (drawn[1] > 0) == (motion == "no-preference")
        assert columns(reader, "accent", "lower")

    def test_speaking_anew_goes_on_as_one(self, reader: Reader, tmp_path: Path) -> None:
        """Every frame is asked for once, however often it was spoken."""
        reader.in_page(_COUNT_DRAWINGS)
        script = Script(tmp_path, chunks=2, at=1)
        for _ in range(4):
            reader.speak(script.text)
            reader.await_text("status", SPEAKING)
        asked = reader.in_page("(async () => [frames_asked, await frameGone(), await frameGone(), frames_asked])()")
        assert 0 < asked[-1] - asked[0] <= 5
        reader.page.click("#stop")
        reader.await_text("status", STOPPED)

    def test_its_words_are_its_description(self, reader: Reader) -> None:
        assert reader.page.get_attribute("#course", "role") == "img"
        described = (reader.page.get_attribute("#course", "aria-describedby") or "").split()
        assert described == ["arrivals-told", "sound-told"]
        assert all(map(reader.text, described))
        reader.speak("chunks=4")
        reader.await_text("status", DONE)
        assert reader.page.get_attribute("#figures-read", "role") == "status"
        reader.await_text("figures-read", f"First chunk after {reader.text('first-chunk')}, real-time factor")


def head(reader: Reader) -> float:
    """Where the playhead is, from 0 to 1 of the width."""
    at: float = reader.in_page("new DOMMatrix(playhead.style.transform).e / course.clientWidth")
    return at


class TestCourse:
    def test_an_hour_takes_as_much_as_a_second(self, reader: Reader) -> None:
        buckets, seconds, heard_s, peak, chunks = of_course(
            reader,
            """
  for (let i = 0; i < 3600; i++) { course.arrive(i, 1); course.play(i + 0.1, sound(100), 100, 0); }
  const sum = course.arrived.reduce((one, other) => one + other);
  return [course.arrived.length, sum, course.soundS, Math.max(...course.loudest), course.chunks];""",
        )
        assert buckets == of_course(reader, "return course.arrived.length")
        assert (seconds, round(heard_s), peak, chunks) == (3600, 3600, 0.5, 3600)

    def test_gaps_are_as_long_as_they_were(self, reader: Reader) -> None:
        script = f"""
  const second = sound({CHUNK_SAMPLES * 10});
  course.arrive(0.1, 1); course.play(0.15, second, {CHUNK_SAMPLES * 10}, 0);
  course.arrive(1.9, 1); course.play(2, second, {CHUNK_SAMPLES * 10}, 0.85);
  course.arrive(2.5, 1); course.play(3, second, {CHUNK_SAMPLES * 10}, 0);
  const dry = course.dry.reduce((one, other) => one + other);
  return [course.gaps, course.drySumS, dry, ...[0, 0.5, 1.5, 2.5].map((heardS) => course.timeOf(heardS))];"""
        gaps, *rest = of_course(reader, script)
        assert gaps == 1
        assert rest == pytest.approx([0.85, 0.85, 0.15, 0.65, 2.5, 3.5], abs=1e-3)
