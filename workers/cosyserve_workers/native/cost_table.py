"""What turns cost on a GPU, measured when the model is loaded, and what the scheduler is told by it.

How wide a solve pays, how long it should wait for company, and whether decoding beside it gains anything depends on the
card, its driver and the host that starts the kernels.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.sizes import CHUNK_TOKENS, EULER_STEPS
from cosyserve_workers.native.flow.width_choice import WidthTable, measure_widths
from cosyserve_workers.native.lm.program import TokenProgram
from cosyserve_workers.native.tracks import Tracks

GAIN = 0.9
"""Two tracks have to be done with both in less than this part of what one takes: what is between is noise."""
REPEATS = 5


@dataclass(frozen=True, slots=True)
class CostTable:
    """Seconds. widths: of an Euler step. decode: of a step of the language model, of all slots.

    in_turn, at_once: of a solve's Euler steps with as many decode steps as take equally long, one after the other and
    side by side; of two tracks alone.
    """

    widths: WidthTable
    decode: float
    in_turn: float = 0.0
    at_once: float = 0.0

    @property
    def width(self) -> int:
        """How many streams share a solve."""
        return self.widths.best

    @property
    def patience(self) -> int:
        """For how many decode steps a chunk waits for another one: as long as a solve of both saves."""
        if 2 not in self.widths.seconds:
            return 0
        return patience(EULER_STEPS * self.widths.seconds[1], EULER_STEPS * self.widths.seconds[2], self.decode)

    @property
    def tracks(self) -> int:
        """Two where both are done sooner beside each other."""
        return 2 if self.at_once < GAIN * self.in_turn else 1

    def told(self) -> Mapping[str, str]:
        """In words, as `Networks.found`."""
        tracks = f"{self.tracks}"
        if self.in_turn:
            tracks += f" ({self.at_once * 1000:.1f} ms for what takes {self.in_turn * 1000:.1f} in turn)"
        waits = f"{self.patience} steps of {self.decode * 1000:.2f} ms"
        return {"solve_width": str(self.widths), "waits_for_company": waits, "tracks": tracks}


def patience(alone: float, both: float, decode: float) -> int:
    """How many decode steps take as long as a solve of two saves: no more than bring the next chunk."""
    return min(max(int((2 * alone - both) / decode), 0), CHUNK_TOKENS)


def measure_costs(flow: Flow, program: TokenProgram, tracks: Tracks, most: int) -> CostTable:
    """Measure. most: streams in a solve. Nobody may use the networks meanwhile."""
    widths = measure_widths(flow, most)
    decode, solve = program.trial(), flow.trial(widths.best)
    with tracks.tokens.entered():
        decode_s = _best(flow.device, decode)
    if tracks.tokens is tracks.sound:
        return CostTable(widths, decode_s)
    steps = max(round(EULER_STEPS * widths.seconds[widths.best] / decode_s), 1)

    @torch.inference_mode()
    def decode_all() -> None:
        with tracks.tokens.entered():
            for _ in range(steps):
                decode()

    @torch.inference_mode()
    def solve_all() -> None:
        for _ in range(EULER_STEPS):
            solve()

    def in_turn() -> None:
        tracks.sound.submit(solve_all).result()
        _wait(flow.device)
        decode_all()

    def at_once() -> None:
        solving = tracks.sound.submit(solve_all)
        decode_all()
        solving.result()

    return CostTable(widths, decode_s, _best(flow.device, in_turn), _best(flow.device, at_once))


@torch.inference_mode()
def _best(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of the quickest of some; the first does not count."""
    times = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
