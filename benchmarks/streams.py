"""How many listeners one front end carries: `python -m benchmarks.streams`.

An engine yields a piece of 40 ms of sound every 40 ms, then one of a second every second, to 50, 200, 400, 1,000 and
2,000 listeners. Beside each, in turn, a short script does the same: Starlette's StreamingResponse on uvicorn, which
makes the pieces in its own event loop, so it has neither workers nor queues to pay for. The listeners are one more
process on the same machine; their players begin 200 ms after the first byte.

Printed for each course: requests refused, answers broken off, listeners that heard a gap; how late the latest piece of
the 99th of 100 listeners was for its player (below 0, so much was left); processors in use by the front end, by the
worker and by the listeners; the front end's time for a piece, and its memory.
"""

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tests.serving import Server, Tables, wait_for

SECONDS = 12
"""How long all speak at the same time."""
RAMP_S_PER_STREAM = 0.01
"""Requests come one after another, as they do: a thousand in one instant is another question."""
MIB = 1024 * 1024


@dataclass
class Side:
    """A server that listeners can be sent to. workers: the processes that make the sound, if it has any."""

    name: str
    port: int
    front: psutil.Process

    def workers(self) -> list[psutil.Process]:
        """Those that are there now."""
        return self.front.children(recursive=True)


@dataclass
class Course:
    """What one side did."""

    seconds: float
    front_s: float
    workers_s: float
    front_mib: float
    listening: dict[str, Any]

    def row(self, name: str, streams: int, piece_ms: int) -> str:
        """As one line."""
        seconds = spoken_s(streams)
        heard = self.listening["heard"]
        refused = sum(one["status"] != 200 for one in heard)
        whole = sum(one["bytes"] == 48_000 * seconds for one in heard)
        gaps = sum(one["underruns"] > 0 for one in heard)
        late_ms = sorted(1000 * one["late_s"] for one in heard)[int(0.99 * (len(heard) - 1))]
        pieces = streams * seconds * 1000 // piece_ms
        return (
            f"{piece_ms:>8}{streams:>8}  {name:10}{refused:>8}{streams - refused - whole:>8}{gaps:>8}{late_ms:>9.0f}"
            f"{self.front_s / self.seconds:>9.2f}{1e6 * self.front_s / pieces:>10.0f}"
            f"{self.workers_s / self.seconds:>9.2f}{self.listening['cpu_s'] / self.seconds:>11.2f}"
            f"{self.front_mib:>8.0f}"
        )


HEAD = (
    f"{'piece ms':>8}{'streams':>8}  {'server':10}{'refused':>8}{'broken':>8}{'gaps':>8}{'late ms':>9}"
    f"{'front':>9}{'us/piece':>10}{'workers':>9}{'listeners':>11}{'MiB':>8}"
)


def spoken_s(streams: int) -> int:
    """What each stream says, in whole seconds."""
    return SECONDS + math.ceil(streams * RAMP_S_PER_STREAM)


def used_s(processes: list[psutil.Process]) -> float:
    """Their processor time so far."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def run(side: Side, streams: int, piece_ms: int) -> Course:
    """One course with so many listeners."""
    ramp_s = streams * RAMP_S_PER_STREAM
    workers = side.workers()
    front_s, workers_s = used_s([side.front]), used_s(workers)
    listening = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.listeners",
            *map(str, (side.port, streams, piece_ms, spoken_s(streams), ramp_s)),
        ],
        check=True,
        capture_output=True,
    )
    return Course(
        spoken_s(streams) + ramp_s,
        used_s([side.front]) - front_s,
        used_s(workers) - workers_s,
        side.front.memory_info().rss / MIB,
        json.loads(listening.stdout),
    )


@contextmanager
def ours(streams: int) -> Iterator[Side]:
    """The server of this project with one worker."""
    settings: Tables = {
        "server": {"max_connections": streams + 100},
        "model": {"engine": "benchmarks.paced:create", "streams": streams},
    }
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), settings) as server:
        yield Side("cosyserve", server.port, psutil.Process(server.pid))


def listening_port(process: psutil.Process) -> int:
    """0 while it has none."""
    return next((one.laddr.port for one in process.net_connections() if one.status == psutil.CONN_LISTEN), 0)


@contextmanager
def plain(_: int) -> Iterator[Side]:
    """The short script on uvicorn."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.plain_server:app", "--port", "0", "--no-access-log"]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            front = psutil.Process(process.pid)
            yield Side("uvicorn", wait_for(lambda: listening_port(front), "uvicorn"), front)
        finally:
            process.terminate()


def main() -> int:
    """Run the courses and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[50, 200, 400, 1000, 2000])
    parser.add_argument("--pieces", type=int, nargs="+", default=[40, 1000], help="milliseconds of sound in a piece")
    args = parser.parse_args()
    sides = [ours, plain] if importlib.util.find_spec("uvicorn") else [ours]
    if plain not in sides:
        print("without the other side: pip install uvicorn", file=sys.stderr)
    print(HEAD, flush=True)
    for piece_ms in args.pieces:
        for streams in args.streams:
            for side in sides:
                with side(streams) as entered:
                    print(run(entered, streams, piece_ms).row(entered.name, streams, piece_ms), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
