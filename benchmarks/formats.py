"""What a second of sound costs the front end in each format: `python -m benchmarks.formats`.

Ten clients ask the engine demo for the same speech in one format, then in the next, round after round. Printed for
each format, as the median of the rounds and their spread: the processor time of the server's own process, workers not
counted, for a second of sound, beside that of `pcm` in the same round, and how many streams one core would carry.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from tests.serving import Server

FORMATS = ("pcm", "wav", "flac", "aac", "opus", "mp3")
STREAMS = 10
RATE = 24_000
TEXT = "The quick brown fox jumps over the lazy dog, again and again. " * 5


def processor_s(server: Server) -> float:
    """What the front end has used so far."""
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


def listen(server: Server, audio_format: str) -> None:
    """One stream, read as fast as it comes."""
    with server.stream(text=TEXT, seed=1, format=audio_format) as answer:
        answer.raise_for_status()
        for _ in answer.iter_raw():
            pass


def cost_s(server: Server, audio_format: str, audio_s: float) -> float:
    """The processor time for a second of sound, in seconds."""
    before = processor_s(server)
    with ThreadPoolExecutor(STREAMS) as listeners:
        for done in [listeners.submit(listen, server, audio_format) for _ in range(STREAMS)]:
            done.result()
    server.await_idle()
    return (processor_s(server) - before) / (STREAMS * audio_s)


def length_s(server: Server) -> float:
    """Of the speech."""
    with server.stream(text=TEXT, seed=1, format="pcm") as answer:
        return len(answer.read()) / 2 / RATE


def measure(rounds: int) -> dict[str, list[float]]:
    """Each format's costs, round by round. One round before them is not counted: codecs are loaded in it."""
    costs = defaultdict[str, list[float]](list)
    settings = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": "asset/zero_shot_prompt.wav"}}
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), settings) as server:
        audio_s = length_s(server)
        for number in range(rounds + 1):
            for audio_format in FORMATS:
                cost = cost_s(server, audio_format, audio_s)
                if number:
                    costs[audio_format].append(cost)
    return costs


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a second of sound costs the front end, by format.")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if importlib.util.find_spec("espeakng_loader") is None:
        print("the engine demo is not installed: pip install '.[demo]'", file=sys.stderr)
        return 1
    costs = measure(args.rounds)
    print(f"{'format':8}{'ms a second of sound':>28}{'beside pcm':>12}{'streams a core':>16}")
    for audio_format, values in costs.items():
        middle = statistics.median(values)
        spread = f"{1000 * middle:.2f} [{1000 * min(values):.2f}-{1000 * max(values):.2f}]"
        ratio = statistics.median(one / pcm for one, pcm in zip(values, costs["pcm"], strict=True))
        print(f"{audio_format:8}{spread:>28}{ratio:>12.1f}{1 / middle:>16.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
