"""Ten streams in a storm: `python -m benchmarks.storm`.

While ten clients listen to the engine demo at the pace of speech, every attack of `benchmarks.attacks` goes on, over
and over. Printed: how late pieces came against their playing time, how long the event loop and /health/live took by the
clock, the front end's resident memory before, at its peak and a minute after, and whether each stream is, byte for
byte, what it was undisturbed.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.serving import Server, Tables

from benchmarks.attacks import ATTACKS, Scale
from cosyserve.settings.sections import LimitSettings

STREAMS = 10
RATE = 24_000
AHEAD_S = 1.0
"""What a player keeps in hand before it lets the server wait."""
CHARS_PER_S = 13
"""Of the demo engine's speech, about; the more, the shorter the streams."""
SENTENCE = "The quick brown fox jumps over the lazy dog, again and again. "
MIB = 2**20
BUDGET = "64MiB"
BACK_WITHIN_S = 60.0
POLL_S = 0.05
PAUSE_S = 0.25
LAG = "cosyserve_event_loop_lag_seconds"
PENDING = "cosyserve_pending_bytes"


@dataclass
class Listened:
    """One stream, played. lateness_s: of each piece, behind the end of the sound before it; 0 where it was in time."""

    audio: bytes = b""
    lateness_s: list[float] = field(default_factory=list)
    error: str = ""


@dataclass
class Weather:
    """What was seen. alive_s: how long each answer of /health/live took. rounds: of each attack."""

    streams: list[Listened]
    whole: int
    rounds: Mapping[str, int]
    alive_s: list[float]
    unanswered: int
    before_mib: float
    peak_mib: float
    after_mib: float
    held_after: Mapping[str, float]
    lag: list[str]

    @property
    def lateness_s(self) -> list[float]:
        """Of every piece of every stream."""
        return [late for stream in self.streams for late in stream.lateness_s]


def play(server: Server, text: str, seed: int, paced: bool) -> Listened:
    """Listen to one stream, as a player does or as fast as it comes. What breaks is told, not raised."""
    heard = Listened()
    began, played_s = 0.0, 0.0
    try:
        with server.stream(text=text, seed=seed) as answer:
            answer.raise_for_status()
            for piece in answer.iter_raw():
                now = time.monotonic()
                began = began or now
                late = now - (began + played_s)
                heard.lateness_s.append(max(0.0, late))
                # A listener who ran dry goes on from where the sound is.
                began += max(0.0, late)
                heard.audio += piece
                played_s += len(piece) / 2 / RATE
                if paced:
                    time.sleep(max(0.0, began + played_s - AHEAD_S - time.monotonic()))
    except httpx.HTTPError as error:
        heard.error = repr(error)
    return heard


class Watch:
    """Asks /health/live and reads the front end's memory, all the time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._process = psutil.Process(server.pid)
        self.alive_s: list[float] = []
        self.unanswered = 0
        self.peak_mib = 0.0

    def mib(self) -> float:
        """The front end's resident memory now; its children are counted apart."""
        return float(self._process.memory_info().rss) / MIB

    def until(self, over: threading.Event) -> None:
        """Go on until then."""
        with httpx.Client(base_url=self._server.url, trust_env=False, timeout=60) as client:
            while not over.wait(POLL_S):
                self.peak_mib = max(self.peak_mib, self.mib())
                asked = time.monotonic()
                try:
                    client.get("/health/live").raise_for_status()
                except httpx.HTTPError:
                    self.unanswered += 1
                self.alive_s.append(time.monotonic() - asked)


class Storm:
    """Every attack in a thread of its own, over and over until it is over."""

    def __init__(self, server: Server, scale: Scale) -> None:
        self._server = server
        self._scale = scale
        self.rounds: Counter[str] = Counter()

    def blow(self, name: str, attack: Callable[[Server, Scale], None], over: threading.Event) -> None:
        """One of them. Being refused, closed on or reset is what is to happen to it."""
        while not over.is_set():
            with suppress(OSError):
                attack(self._server, self._scale)
            self.rounds[name] += 1
            # A flood of connections would be another attack.
            over.wait(PAUSE_S)


def weather(server: Server, seconds: float, scale: Scale, names: Collection[str] = ATTACKS) -> Weather:
    """Listen undisturbed, then in the storm, and look again a minute later."""
    text = SENTENCE * max(1, round(seconds * CHARS_PER_S / len(SENTENCE)))
    with ThreadPoolExecutor(STREAMS) as listeners:
        undisturbed = list(listeners.map(lambda seed: play(server, text, seed, paced=False), range(STREAMS)))
    server.await_idle()
    watch, storm, over = Watch(server), Storm(server, scale), threading.Event()
    before = watch.mib()
    with ThreadPoolExecutor(STREAMS + len(ATTACKS) + 1) as threads:
        playing = [threads.submit(play, server, text, seed, True) for seed in range(STREAMS)]
        others = [threads.submit(watch.until, over)]
        others += [threads.submit(storm.blow, name, attack, over) for name, attack in ATTACKS.items() if name in names]
        streams = [one.result() for one in playing]
        over.set()
        for other in others:
            other.result()
    lag = [line for line in figures(server) if line.startswith(LAG) and "_bucket" not in line]
    return Weather(
        streams=streams,
        whole=sum(not now.error and now.audio == then.audio for now, then in zip(streams, undisturbed, strict=True)),
        rounds=storm.rounds,
        alive_s=watch.alive_s,
        unanswered=watch.unanswered,
        before_mib=before,
        peak_mib=watch.peak_mib,
        held_after=given_back(server),
        after_mib=watch.mib(),
        lag=lag,
    )


def given_back(server: Server) -> dict[str, float]:
    """What the service holds for clients: nothing, or what it has not given back within a minute."""
    give_up_at = time.monotonic() + BACK_WITHIN_S
    while any((held := holds(server)).values()) and time.monotonic() < give_up_at:
        time.sleep(POLL_S)
    return held


def holds(server: Server) -> dict[str, float]:
    """Jobs, audio, clients' bytes where they are counted, and connections beside our own."""
    info = server.model_info()
    held = {name: float(info[name]) for name in ("running", "waiting", "buffered_bytes")}
    pending = [float(line.split()[-1]) for line in figures(server) if line.startswith(PENDING)]
    # Those that their clients have left are on their way.
    connections = sum(one.status == "ESTABLISHED" for one in psutil.Process(server.pid).net_connections("tcp"))
    return {**held, "pending_bytes": sum(pending), "connections": connections}


def figures(server: Server) -> list[str]:
    """The lines of /metrics."""
    return [line for line in server.get("/metrics").text.splitlines() if not line.startswith("#")]


def settings() -> Tables:
    """Both budgets at 64 MiB, where there are both."""
    pending = {"max_pending_bytes": BUDGET} if "max_pending_bytes" in LimitSettings.model_fields else {}
    sections: dict[str, Any] = {
        "model": {"engine": "demo"},
        "server": {"max_buffered_bytes": BUDGET},
        "limits": {"max_concurrency": STREAMS, **pending},
    }
    return sections


@contextmanager
def server_in(folder: Path, watch_steps: bool = False) -> Iterator[Server]:
    """The server that stands in the storm."""
    with Server(folder, settings(), watch_steps=watch_steps) as server:
        yield server


def report(seen: Weather) -> None:
    """Print it."""
    late = sorted(seen.lateness_s)
    print(f"streams whole     {seen.whole} of {len(seen.streams)}")
    for stream in seen.streams:
        if stream.error:
            print(f"  broken          {stream.error}")
    print(f"pieces            {len(late)}, {sum(second > 0 for second in late)} late")
    print(f"lateness, ms      {_spread(late)}")
    print(f"/health/live, ms  {_spread(seen.alive_s)}, {seen.unanswered} unanswered of {len(seen.alive_s)}")
    for line in seen.lag:
        print(f"loop lag          {line}")
    print(
        f"resident, MiB     {seen.before_mib:.0f} before, {seen.peak_mib:.0f} at its peak, {seen.after_mib:.0f} after"
    )
    print(f"held after        {', '.join(f'{name} {value:g}' for name, value in seen.held_after.items())}")
    print(f"attacks           {', '.join(f'{name} x {rounds}' for name, rounds in sorted(seen.rounds.items()))}")


def _spread(times_s: list[float]) -> str:
    ordered = sorted(1000 * second for second in times_s) or [0.0]
    return (
        f"{statistics.median(ordered):.1f} median, {ordered[len(ordered) * 99 // 100]:.1f} p99, {ordered[-1]:.1f} most"
    )


def main() -> int:
    """Measure. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of speech in each stream, about (default: 60)")
    parser.add_argument("--scale", type=float, default=1, help="of the attacks; 0.1 is a tenth of each (default: 1)")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), help="these attacks alone")
    args = parser.parse_args()
    if importlib.util.find_spec("espeakng_loader") is None:
        print("the engine demo is not installed: pip install -e '.[demo]'", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, server_in(Path(folder)) as server:
        report(weather(server, args.seconds, Scale(args.scale), args.only))
        # What the log holds is the tests' affair.
        server.announce("")
    return 0


if __name__ == "__main__":
    sys.exit(main())
