"""A real browser without a window, cut off from all but this machine, whose sound is recorded as it is rendered."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.chromium import chromium
from tests.serving import Server, wait_for

DONE, STOPPED, SPEAKING = "Done.", "Stopped.", "Speaking."
STATUS_OF = "the server responded with a status of {}"
"""What the console says of a refusal."""
FOREIGN_HOST = "page.test"
"""Another name of this machine, which browsers do not trust as they trust 127.0.0.1."""
ARGS = (
    # Root's browser has no sandbox, and tests may be root's.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    f"--host-resolver-rules=MAP {FOREIGN_HOST} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

# What goes to the loudspeaker goes into the page's own capture of the microphone, too: no other script would be let
# into the audio thread. A source of silence keeps it going while nothing plays.
_WIRE_TAP = """
window.rendered = { blocks: 0, samples: [], frames: () => 0 };
const taps = new WeakMap(), resume = AudioContext.prototype.resume, connect = AudioNode.prototype.connect;
AudioContext.prototype.resume = async function () {
  if (this.audioWorklet && !taps.has(this)) {
    await this.audioWorklet.addModule("/page/capture.js");
    const tap = new AudioWorkletNode(this, "capture"), silence = new ConstantSourceNode(this, { offset: 0 });
    tap.port.onmessage = ({ data }) => {
      window.rendered.blocks += 1;
      for (const sample of data) if (sample || window.rendered.samples.length) window.rendered.samples.push(sample);
    };
    connect.call(silence, tap);
    connect.call(tap, this.destination);
    silence.start();
    taps.set(this, tap);
    Object.assign(window.rendered, { blocks: 0, frames: () => this.currentTime * this.sampleRate });
  }
  return resume.call(this);
};
AudioNode.prototype.connect = function (to, ...rest) {
  if (to === this.context.destination && taps.has(this.context)) connect.call(this, taps.get(this.context));
  return connect.call(this, to, ...rest);
};
"""
# The page's player before a loudspeaker whose time stands still while it is fed. `late` is how far its clock goes on
# between the player's look at it and the start that follows, in frames.
_RENDERED_OFFLINE = """async ([rate, frames, feeds]) => {
  const { Player } = await import("/page/player.js");
  const start = AudioBufferSourceNode.prototype.start;
  let context, behind = 0;
  window.AudioContext = class extends OfflineAudioContext {
    baseLatency = 0;
    constructor({ sampleRate }) { context = super(1, frames, sampleRate); }
    get currentTime() { return super.currentTime - behind / this.sampleRate; }
    resume() {}
  };
  AudioBufferSourceNode.prototype.start = function (when) {
    behind = 0;
    start.call(this, when);
  };
  const player = new Player();
  await player.open(rate);
  for (const { at, late, samples } of feeds) {
    const feed = () => { behind = late; player.feed(new Int16Array(samples)); };
    if (!at) feed();
    else context.suspend((at + 0.5) / rate).then(() => { feed(); OfflineAudioContext.prototype.resume.call(context); });
  }
  const rendered = await context.startRendering();
  return { samples: JSON.stringify([...rendered.getChannelData(0)]), underruns: player.underruns };
}"""


@contextmanager
def launched() -> Iterator[Browser]:
    """One for several tests: a second takes to start."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGS))
        try:
            yield browser
        finally:
            browser.close()


class Feed(NamedTuple):
    """A part that comes to the page's player at frame `at`, a multiple of 128.

    late: how many frames go by between the player's look at the clock and the start of what plays it.
    """

    samples: list[int]
    at: int = 0
    late: int = 0


class Reader:
    """Somebody in front of the page at `url`, in a fresh profile.

    page: the browser's. options: of its context, English by default. expected: words of the complaints that its console
    may have.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.expected: tuple[str, ...] = ()
        self._requests: list[str] = []
        self._complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(**{"locale": "en-US", **options})
        if FOREIGN_HOST not in url:
            self.context.grant_permissions(["clipboard-read", "clipboard-write", "microphone"], origin=url)
        self.context.add_init_script(_WIRE_TAP)
        self.page = self.open()

    def open(self) -> Page:
        """A tab."""
        page = self.context.new_page()
        page.on("request", lambda request: self._requests.append(request.url))
        page.on("pageerror", lambda error: self._complaints.append(f"thrown: {error}"))
        page.on("console", lambda message: self._complaints.append(f"{message.type}: {message.text}"))
        page.goto(self.url)
        return page

    def close(self) -> None:
        """Leave; fails where the page complained or asked for anything that is not the server's."""
        self.context.close()
        asked = [url.removeprefix("blob:") for url in self._requests]
        assert asked
        elsewhere = [url for url in asked if not url.startswith(f"{self.url}/")]
        assert not elsewhere, elsewhere
        complaints = [line for line in self._complaints if not any(words in line for words in self.expected)]
        assert not complaints, complaints

    def speak(self, text: str, **fields: str) -> None:
        """Fill in the form and press the button."""
        for name, value in {"text": text, **fields}.items():
            self.page.fill(f"#{name}", value)
        self.page.click("#speak")

    def text(self, name: str) -> str:
        """What an element shows."""
        return self.page.locator(f"#{name}").inner_text()

    def await_text(self, name: str, text: str) -> None:
        """Wait until it shows this."""
        wait_for(lambda: text in self.text(name) or self._other_than(name), f"#{name} to show {text!r}")
        assert text in self.text(name), self.text("error")

    def _other_than(self, name: str) -> bool:
        """Whether to give up, because the page shows an error that nobody waits for."""
        return name != "error" and bool(self.text("error"))

    def figure(self, name: str) -> float:
        """A figure's exact value."""
        return float(self.page.locator(f"#{name}").get_attribute("value") or "nan")

    def await_blocks(self, count: int) -> None:
        """Wait until the browser has rendered so many blocks of 1024 samples more, and `heard` knows all until then."""
        last = self.page.evaluate("rendered.frames()") + 1024 * count
        wait_for(lambda: self.page.evaluate("1024 * rendered.blocks") >= last, f"{count} blocks more")

    def heard(self) -> NDArray[np.int16]:
        """What the browser has rendered from the first sound on, as the 16-bit samples that it was made from."""
        # As one string: an array of them holds the page up for seconds, and its sound with it.
        return _pcm(self.page.evaluate("JSON.stringify(rendered.samples)"))

    def rendered(self, rate: int, frames: int, feeds: list[Feed]) -> tuple[NDArray[np.int16], int]:
        """What the page's player makes of parts that come at these times, as no machine's load can change it.

        rate: Hz. frames: how long to listen. Returns the samples from frame 0 on, and how many underruns it counted.
        """
        answer = self.page.evaluate(_RENDERED_OFFLINE, [rate, frames, [feed._asdict() for feed in feeds]])
        return _pcm(answer["samples"]), answer["underruns"]

    def download(self, folder: Path) -> tuple[str, bytes]:
        """Press the button. Returns the file's name and content."""
        with self.page.expect_download() as started:
            self.page.click("#download")
        path = folder / started.value.suggested_filename
        started.value.save_as(path)
        return path.name, path.read_bytes()

    def in_page(self, script: str) -> Any:
        """What JavaScript says."""
        return self.page.evaluate(script)


NewReader = Callable[..., Reader]


def answered(server: Server, **fields: str | int | bytes) -> bytes:
    """What the server sends."""
    answer = server.post("/synthesize", None, **fields)
    assert answer.status_code == 200, answer.text
    return answer.content


def samples(pcm: bytes) -> NDArray[np.int16]:
    """Of the 16-bit samples that these bytes are."""
    return np.frombuffer(pcm, "<i2").astype(np.int16)


def _pcm(samples: str) -> NDArray[np.int16]:
    scaled = np.asarray(json.loads(samples), np.float64) * 32768
    assert np.array_equal(scaled, np.rint(scaled)), "the browser has changed the samples"
    pcm: NDArray[np.int16] = scaled.astype(np.int16)
    return pcm


def sounding(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    """Without zeros: what is left of noise is the same whether gaps lie in it or not."""
    rest: NDArray[np.int16] = pcm[pcm != 0]
    return rest
