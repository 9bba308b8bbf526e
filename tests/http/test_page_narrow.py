"""The page in a real browser: on a phone, and in windows of any width."""

import itertools
from typing import Any

import pytest

from tests.http.browser import DONE, NewReader, Reader
from tests.serving import Server

pytestmark = pytest.mark.full

IPHONE_13 = {
    "viewport": {"width": 390, "height": 664},
    "device_scale_factor": 3,
    "is_mobile": True,
    "has_touch": True,
}
IN_SIGHT = ["speak", "stop", "download", "first-chunk", "real-time-factor", "audio", "underruns", "used-seed"]
SMALLEST = 44
"""CSS pixels that a finger needs."""
# Those that one cannot see whole, or that something else lies on.
_OUT_OF_SIGHT = """(names) => names.filter((name) => {
  const one = document.getElementById(name), { left, right, top, bottom } = one.getBoundingClientRect();
  const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
  return !inside || !one.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2));
})"""
_SMALL = """(smallest) => [...document.querySelectorAll("button, select, summary, textarea, input, nav a")]
  .map((one) => (one.type === "radio" ? one.labels[0] : one))
  .filter((one) => one.checkVisibility() && Math.min(one.offsetWidth, one.offsetHeight) < smallest)
  .map((one) => one.id || one.className || one.textContent)"""


@pytest.fixture
def phone(new_reader: NewReader, server: Server) -> Reader:
    reader = new_reader(server.url, **IPHONE_13)
    reader.await_text("voice-about", "Instruction:")
    return reader


def out_of_sight(reader: Reader, names: list[str]) -> dict[str, Any]:
    """By how far the page is scrolled: those of them that are not in sight."""
    missing = {}
    for place in ("0", "0.5 * document.body.scrollHeight", "document.body.scrollHeight"):
        reader.in_page(f"scrollTo(0, {place})")
        missing[place] = reader.page.evaluate(_OUT_OF_SIGHT, names)
    return {place: names for place, names in missing.items() if names}


class TestPhone:
    def test_speak_stop_and_figures_stay_in_sight(self, phone: Reader) -> None:
        assert out_of_sight(phone, IN_SIGHT) == {}
        phone.speak("chunks=3")
        phone.await_text("status", DONE)
        assert phone.in_page("document.body.scrollHeight > 1.5 * innerHeight")
        assert out_of_sight(phone, [*IN_SIGHT, "status"]) == {}
        phone.page.click("#options-fold")
        phone.page.check("input[value=recording]")
        phone.page.click("#language")
        assert out_of_sight(phone, [*IN_SIGHT, "status"]) == {}

    def test_what_went_wrong_is_in_sight(self, phone: Reader) -> None:
        phone.expected = ("422",)
        phone.page.fill("#text", "?!")
        phone.page.click("#speak")
        phone.await_text("error", "unspeakable_text")
        assert out_of_sight(phone, [*IN_SIGHT, "error"]) == {}

    def test_options_are_folded_and_work(self, phone: Reader) -> None:
        assert phone.page.is_hidden("#seed")
        phone.page.click("#options-fold")
        phone.speak("chunks=1", seed="5")
        phone.await_text("status", DONE)
        assert phone.text("used-seed") == "5"

    def test_a_finger_meets_every_control(self, phone: Reader) -> None:
        phone.page.click("#options-fold")
        phone.speak("chunks=1")
        phone.await_text("status", DONE)
        for source in ("stored", "file", "recording"):
            phone.page.check(f"input[value={source}]")
            assert phone.page.evaluate(_SMALL, SMALLEST) == []


class TestWidths:
    def test_options_are_open_where_there_is_room(self, reader: Reader) -> None:
        assert reader.page.is_visible("#seed")
        reader.page.set_viewport_size({"width": 390, "height": 664})
        reader.page.locator("#seed").wait_for(state="hidden")
        reader.page.set_viewport_size({"width": 820, "height": 1180})
        reader.page.locator("#seed").wait_for(state="visible")

    def test_nothing_sticks_out(self, reader: Reader) -> None:
        reader.page.fill("#text", "x" * 500)
        reader.page.click("#speak")
        reader.await_text("status", DONE)
        for width, source in itertools.product((320, 390, 820, 1024, 1280), ("stored", "file", "recording")):
            reader.page.set_viewport_size({"width": width, "height": 800})
            reader.page.check(f"input[value={source}]")
            assert reader.in_page("document.documentElement.scrollWidth") <= width
