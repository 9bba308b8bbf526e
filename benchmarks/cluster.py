"""What Ray Serve costs beside the pool of one machine: `python -m benchmarks.cluster`.

Both serve at the same time from this machine, with one engine that speaks at the pace of speech, and are measured in
turns: cosyserve with a worker, and the same application on a simulated node of Ray, whose engine is another process.

Printed: the first byte of both, request by request in turns, with the ratio and the difference; then so many listeners
at once, with the processors in use by the front, by the engine and by everything else of Ray, and the front's share for
a stream and for a piece.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psutil
from tests.cluster.nodes import Nodes, Service
from tests.serving import Server, Tables

from benchmarks.streams import Course, Side, run, spoken_s, used_s

PIECE_MS = 40
"""Of the one whose first is timed."""


@dataclass
class Place:
    """One of the two. others: processes beside front and engine that serving keeps busy."""

    name: str
    server: Server
    front: psutil.Process
    engine: psutil.Process
    others: list[psutil.Process]


def first_byte_s(server: Server) -> float:
    """From before a connection is opened to the first byte of sound."""
    began = time.perf_counter()
    with server.stream(text=f"{PIECE_MS} 1") as response:
        pieces = response.iter_raw()
        next(pieces)
        return time.perf_counter() - began


def first_bytes_ms(places: list[Place], runs: int) -> list[list[float]]:
    """Of each place, in turns; the first of each are not counted."""
    taken: list[list[float]] = [[] for _ in places]
    for number in range(runs + 3):
        for place, its in zip(places, taken, strict=True):
            seconds = first_byte_s(place.server)
            place.server.await_idle()
            if number >= 3:
                its.append(1000 * seconds)
    return taken


def at(part: float, values: list[float]) -> float:
    """The value at this part of them, in order."""
    return sorted(values)[round(part * (len(values) - 1))]


def tell_first_bytes(places: list[Place], taken: list[list[float]]) -> None:
    """A line for each place, and one for what lies between them."""
    for place, its in zip(places, taken, strict=True):
        print(f"{place.name:<12} first byte: median {statistics.median(its):6.1f}   95 % {at(0.95, its):6.1f}  ms")
    alone, spread = map(statistics.median, taken)
    print(f"{'':<12} ratio {spread / alone:.2f}, difference {spread - alone:.1f} ms", flush=True)


def course(place: Place, streams: int, piece_ms: int) -> tuple[Course, float, float]:
    """Listeners at one place: how it went, and the seconds of processor of the engine and of the others."""
    engine_s, others_s = used_s([place.engine]), used_s(place.others)
    went = run(Side(place.name, place.server.port, place.front), streams, piece_ms)
    return went, used_s([place.engine]) - engine_s, used_s(place.others) - others_s


def tell_course(place: Place, streams: int, piece_ms: int, measured: tuple[Course, float, float]) -> None:
    """One line."""
    went, engine_s, others_s = measured
    heard = went.listening["heard"]
    whole = sum(one["bytes"] == 48_000 * spoken_s(streams) for one in heard)
    gaps = sum(one["underruns"] > 0 for one in heard)
    pieces = streams * spoken_s(streams) * 1000 // piece_ms
    print(
        f"{place.name:<12}{streams:>4} streams of {piece_ms:>4} ms pieces, {whole:>3} whole, {gaps:>3} with a gap; "
        f"processors: front {went.front_s / went.seconds:.2f}, engine {engine_s / went.seconds:.2f}, "
        f"others {others_s / went.seconds:.2f}; front: {1000 * went.front_s / went.seconds / streams:.1f} thousandths "
        f"for a stream, {1000 * went.front_s / pieces:.2f} ms for a piece",
        flush=True,
    )


def alone(server: Server) -> Place:
    """The pool of one machine."""
    (worker,) = server.worker_pids()
    return Place("one machine", server, psutil.Process(server.pid), psutil.Process(worker), [])


def spread(nodes: Nodes, service: Service) -> Place:
    """The cluster's."""
    (front,), (engine,) = nodes.replicas("Front"), nodes.replicas("Engine")
    known = {front["pid"], engine["pid"]}
    others = [one for one in psutil.Process(nodes.pid).children(recursive=True) if one.pid not in known]
    return Place("Ray Serve", service, psutil.Process(front["pid"]), psutil.Process(engine["pid"]), others)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100, help="requests at each place for the first byte")
    parser.add_argument("--streams", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--pieces", type=int, nargs="+", default=[40, 1000], help="milliseconds of sound in a piece")
    parser.add_argument("--rounds", type=int, default=2, help="courses of each place with so many streams")
    args = parser.parse_args()
    settings: Tables = {"model": {"engine": "benchmarks.paced:in_threads", "streams": max(args.streams)}}
    with tempfile.TemporaryDirectory() as folder:
        one, many = Path(folder, "one"), Path(folder, "many")
        one.mkdir()
        many.mkdir()
        with Server(one, settings) as server, Nodes(many, 1) as nodes, Service(nodes, many, settings) as service:
            places = [alone(server), spread(nodes, service)]
            tell_first_bytes(places, first_bytes_ms(places, args.runs))
            for piece_ms, streams, _ in product(args.pieces, args.streams, range(args.rounds)):
                for place in places:
                    tell_course(place, streams, piece_ms, course(place, streams, piece_ms))
    return 0


if __name__ == "__main__":
    sys.exit(main())
