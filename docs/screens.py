"""Takes the page's pictures, in a real browser before a real server: `make screens`.

They lie in the folder `screens` then, by width, language and colours; the README's own is docs/page.png.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, Page
from tests import sounds
from tests.http.browser import launched
from tests.serving import Server, wait_for

Scheme = Literal["light", "dark"]

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "screens"
README_PICTURE = ROOT / "docs" / "page.png"
ENOUGH_BYTES_S, TOO_FEW_BYTES_S = 80_000, 40_000
"""A link that is faster than 24 kHz sound, and one on which it runs dry."""
TEXTS = {
    "en-US": ("Welcome! What can I get you?", "Your table is ready. The soup of the day is tomato, with fresh basil."),
    "zh-CN": ("欢迎光临!请问您需要什么?", "您的座位已经准备好了。今天的例汤是番茄罗勒汤。"),
}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


class Screen(NamedTuple):
    """A kind of device. Sizes in CSS pixels, without what the browser itself shows."""

    width: int
    height: int
    touch: bool = False


SCREENS = (Screen(390, 664, touch=True), Screen(820, 1106, touch=True), Screen(1280, 800))


@contextmanager
def reader(browser: Browser, url: str, screen: Screen, locale: str, scheme: Scheme) -> Iterator[Page]:
    """Somebody with such a screen, in front of the page."""
    context = browser.new_context(
        viewport={"width": screen.width, "height": screen.height},
        device_scale_factor=2 if screen.touch else 1,
        is_mobile=screen.touch,
        has_touch=screen.touch,
        locale=locale,
        color_scheme=scheme,
    )
    page = context.new_page()
    page.goto(url)
    page.locator("#voice option[value=bob]").wait_for(state="attached")
    yield page
    context.close()


def link_of(page: Page) -> Callable[[int], None]:
    """What sets how many bytes come in a second."""
    session = page.context.new_cdp_session(page)

    def carry(bytes_s: int) -> None:
        link = {"offline": False, "latency": 40, "downloadThroughput": bytes_s, "uploadThroughput": -1}
        session.send("Network.emulateNetworkConditions", link)

    return carry


def speak(page: Page, text: str, voice: str) -> None:
    """Begin."""
    page.select_option("#voice", voice)
    page.fill("#text", text)
    page.click("#speak")


def await_end(page: Page) -> None:
    """All has been heard."""
    page.locator("#stop[aria-disabled=true]").wait_for()


def await_sound(page: Page, seconds: float) -> None:
    """So much has come."""
    wait_for(lambda: float(page.locator("#audio").get_attribute("value") or 0) > seconds * 24_000, "sound")


def take(browser: Browser, url: str, screen: Screen, locale: str, scheme: Scheme) -> None:
    """Before, while and after something is heard."""

    def shoot(name: str) -> None:
        page.screenshot(path=FOLDER / f"{screen.width}-{locale[:2]}-{scheme}-{name}.png")

    with reader(browser, url, screen, locale, scheme) as page:
        shoot("before")
        carry = link_of(page)
        carry(ENOUGH_BYTES_S)
        short, long = TEXTS[locale]
        speak(page, short, "default")
        await_end(page)
        carry(TOO_FEW_BYTES_S)
        speak(page, long, "bob")
        await_sound(page, 2.0)
        shoot("while")
        await_end(page)
        shoot("after")
        page.check("input[value=recording]")
        # The browser's own way to take a whole page forgets that it is to be a phone.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": screen.width, "height": height})
        shoot("whole")


def take_for_readme(browser: Browser, url: str) -> None:
    """One picture that says what the page is."""
    with reader(browser, url, Screen(1280, 880), "en-US", "light") as page:
        link_of(page)(ENOUGH_BYTES_S)
        short, long = TEXTS["en-US"]
        for voice in ("alice", "bob"):
            speak(page, short, voice)
            await_end(page)
        speak(page, long, "alice")
        await_sound(page, 3.0)
        page.screenshot(path=README_PICTURE)


def main() -> None:
    """Take them all."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder), {"model": {"engine": "demo"}}) as server,
        launched() as browser,
    ):
        for name in ("alice", "bob"):
            server.post("/v1/audio/voices", name=name, audio_sample=sounds.prompt())
        for how in itertools.product(SCREENS, TEXTS, SCHEMES):
            take(browser, server.url, *how)
        take_for_readme(browser, server.url)


if __name__ == "__main__":
    main()
