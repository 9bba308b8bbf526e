"""What turns of the engine `native` take on this machine: the real networks, turn by turn."""

import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.company import Company
from benchmarks.costs import Costs, Point
from benchmarks.floors import wait_for
from benchmarks.native import machine
from benchmarks.native_trace import replaced
from cosyserve.protocol import EngineConfig
from cosyserve_workers.native.driver import Driver
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES, FRAMES_PER_TOKEN, LOOKAHEAD_TOKENS
from cosyserve_workers.native.lanes import on_a_passing_thread
from cosyserve_workers.native.loading import create
from cosyserve_workers.native.networks import Networks

PASTS = (100, 300)
"""Speech tokens behind the streams in a solve, or of the voice in a prefill."""
DECODED = (50, 150)
"""The same in a decode: what lies behind it costs little, and a prefill of it first."""
REPEATS = 3
TAIL = 12
"""Speech tokens at a segment's end."""


def measure(config: EngineConfig) -> Costs:
    """Load a model folder as a worker does, and time its turns."""
    made: list[Networks] = []

    def keep(make: Callable[..., None], driver: Any, networks: Networks) -> None:
        made.append(networks)
        make(driver, networks)

    with replaced(Driver, "__init__", keep):
        engine = create(config)
    (networks,) = made
    source = f"{machine()}, {platform.system()}, {torch.get_num_threads()} threads, {config.precision}, measured"
    try:
        # Its own thread has nothing to do meanwhile, and this one is like it.
        points = on_a_passing_thread(lambda: list(_all(networks)))
    finally:
        engine.close()
    return Costs(source, networks.plan, points)


def _all(networks: Networks) -> Iterator[Point]:
    _warm_up(networks)
    for past in PASTS:
        yield from _prefill(networks, past)
        for streams in _some(networks.plan.solve_width):
            yield from _solve(networks, streams, past)
    for past in DECODED:
        for streams in _some(networks.plan.slots):
            yield from _decode(networks, streams, past)


def _warm_up(networks: Networks) -> None:
    company = Company(networks, 1, 50)
    company.prefill()
    company.open(1)
    company.leave()


def _some(most: int) -> list[int]:
    """Some numbers of streams."""
    return [streams for streams in (1, 2, 4, 10, 20) if streams < most] + [most]


def _prefill(networks: Networks, past: int) -> Iterator[Point]:
    for _ in range(REPEATS):
        company = Company(networks, 1, past)
        yield Point("prefill", 1, 0, company.rows, _timed(company.prefill))
        company.leave()


def _decode(networks: Networks, streams: int, past: int) -> Iterator[Point]:
    company = Company(networks, streams, past)
    company.prefill()
    for step in range(2 * REPEATS):
        yield Point("decode", streams, company.rows + step, 1, _timed(company.decode))
    company.leave()


def _solve(networks: Networks, streams: int, past: int) -> Iterator[Point]:
    company = Company(networks, streams, past)
    company.open(streams)
    behind = FRAMES_PER_TOKEN * past
    for _ in range(REPEATS):
        company.know(1)
        yield Point("solve", streams, behind, CHUNK_FRAMES, _timed(company.solve))
        behind += CHUNK_FRAMES
    company.finish(TAIL)
    yield Point("solve", streams, behind, FRAMES_PER_TOKEN * (TAIL + LOOKAHEAD_TOKENS), _timed(company.solve))
    company.leave()


def _timed(turn: Callable[[], object]) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wait_for(device)
    started = time.perf_counter()
    turn()
    wait_for(device)
    return time.perf_counter() - started
