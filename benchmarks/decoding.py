"""What a helper's process costs a recording: `python -m benchmarks.decoding`.

Each recording is decoded in turn in this process, as the service did before it had helpers, in a helper, and in a
helper with the room reserved first (a second job). Milliseconds: median and maximum. What a lost helper costs the next
job is printed last.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from tests import sounds

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import InvalidPrompt
from cosyserve.voices import decoding
from cosyserve.voices.prompts import JOBS, Decoder
from cosyserve.wire.helper import Helpers
from cosyserve.wire.helper_process import HelperFailed

Way = Callable[[bytes], object]


def recordings() -> dict[str, bytes]:
    """By name."""
    usual, long = sounds.voice(5, 24_000), sounds.voice(30, 48_000)
    return {
        "WAV, 5 s of 24 kHz": sounds.encode(usual, 24_000),
        "FLAC, 5 s of 24 kHz": sounds.encode(usual, 24_000, "FLAC"),
        "MP3, 5 s of 24 kHz": sounds.encode(usual, 24_000, "MP3"),
        "M4A, 5 s of 24 kHz": sounds.recorded(usual, 24_000, "ipod", "aac"),
        "our FLAC, 5 s": sounds.answer(AudioFormat.FLAC, usual, 24_000),
        "WEBM, 30 s of 48 kHz": sounds.recorded(long, 48_000, "webm", "libopus"),
        "WAV, 30 s of 48 kHz": sounds.encode(long, 48_000),
        "FLAC, 29 s of 192 kHz": sounds.encode(sounds.sine(29, 192_000), 192_000, "FLAC"),
        "16 MiB of junk": np.random.default_rng(1).bytes(16 << 20),
    }


def timed(way: Way, audio: bytes) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    with contextlib.suppress(InvalidPrompt):
        way(audio)
    return 1e3 * (time.perf_counter() - began)


def compare(ways: Mapping[str, Way], rounds: int) -> None:
    """A line a recording and way."""
    for name, audio in recordings().items():
        print(f"{name} ({len(audio):,} bytes)")
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, call in ways.items():
                took[way].append(timed(call, audio))
        for way, times in took.items():
            print(f"    {way:24} {statistics.median(times):8.2f} {max(times):8.2f} ms")


def after_a_loss(helpers: Helpers, rounds: int) -> list[float]:
    """Milliseconds of the job after the one that ended its process."""
    took = []
    for _ in range(rounds):
        with contextlib.suppress(HelperFailed):
            helpers.call("os:abort", timeout_s=60)
        began = time.perf_counter()
        helpers.call("os:getpid", timeout_s=60)
        took.append(1e3 * (time.perf_counter() - began))
    return took


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    helpers = Helpers(JOBS, count=1)
    try:
        decoder = Decoder(helpers)
        compare(
            {
                "in this process": decoding.decode,
                "in a helper": decoder.decode_in_thread,
                "in a helper, reserved": partial(decoder.decode_in_thread, reserve=lambda _: None),
            },
            rounds,
        )
        lost = after_a_loss(helpers, rounds)
        print(f"the job after a loss: {statistics.median(lost):.0f} ms, at most {max(lost):.0f} ms")
    finally:
        helpers.close()


if __name__ == "__main__":
    main()
