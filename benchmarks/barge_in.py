"""How soon a WebSocket session is silent after input.cancel: `python -m benchmarks.barge_in`.

The engine demo speaks a long text; at a random moment of its streaming the client cancels. Timed on the client's side,
from the moment before the message is sent: to the acknowledgement, after which no audio may come (audio that does is
counted, and ends the benchmark with status 1); and to the first /model_info that shows no running stream and no audio
held, a poll's own time included.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.http.sessions import Client, session
from tests.serving import Server, Tables

from benchmarks.disconnect import Idle, is_free

LONG_TEXT = "The quick brown fox jumps over the lazy dog, again and again. " * 70
SETTLE_S = 0.2
"""How long audio is waited for that must not come."""


def cancel_once(client: Client, idle: Idle, after_frames: int) -> tuple[float, float, int]:
    """Speak, and cancel after so many frames. Returns the two times in seconds, and the stray frames."""
    client.say(LONG_TEXT)
    frames = 0
    while frames < after_frames:
        frames += isinstance(client.receive(), bytes)
    started = time.perf_counter()
    client.send("input.cancel")
    while isinstance(frame := client.receive(), bytes) or frame["type"] != "input.cancelled":
        pass
    acknowledged_s = time.perf_counter() - started
    idle.until(is_free)
    free_s = time.perf_counter() - started
    stray = 0
    try:
        while True:
            stray += isinstance(client.connection.recv(SETTLE_S), bytes)
    except TimeoutError:
        return acknowledged_s, free_s, stray


def report(name: str, seconds: list[float]) -> None:
    """One line, in milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    high = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    print(f"{name:<28} median {statistics.median(ordered):7.1f}   95 % {high:7.1f}   most {ordered[-1]:7.1f}  ms")


def main() -> int:
    """Run it; 1 where audio came after an acknowledgement."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--runs", type=int, default=50)
    arguments.add_argument("--engine", default="demo")
    options = arguments.parse_args()
    settings: Tables = {"model": {"engine": options.engine}, "limits": {"max_text_chars": 10_000}}
    acknowledged, free, stray = [], [], 0
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), settings) as server:
        idle = Idle(server.url)
        moments = random.Random(1)
        with session(server, compression=None) as client:
            for _ in range(options.runs):
                acknowledged_s, free_s, strays = cancel_once(client, idle, moments.randint(1, 30))
                acknowledged.append(acknowledged_s)
                free.append(free_s)
                stray += strays
    print(f"{options.runs} cancels with the engine {options.engine}")
    report("cancel to acknowledgement", acknowledged)
    report("cancel to a free stream", free)
    print(f"audio frames after an acknowledgement: {stray}")
    return 1 if stray else 0


if __name__ == "__main__":
    sys.exit(main())
