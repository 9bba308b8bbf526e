"""The programs of the engine `native`, and what each costs a GPU in launches and waits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.company import Company
from benchmarks.counting import Count, Counter
from benchmarks.native_trace import replaced
from cosyserve_workers.native.flow.dit import Dit
from cosyserve_workers.native.flow.dit_encoder import DitEncoder
from cosyserve_workers.native.flow.encoder import Encoder
from cosyserve_workers.native.flow.estimator import Estimator
from cosyserve_workers.native.flow.flow import Flow
from cosyserve_workers.native.flow.sizes import CHUNK_TOKENS
from cosyserve_workers.native.lm.program import TokenProgram
from cosyserve_workers.native.lm.sampling import Sampler
from cosyserve_workers.native.networks import Networks
from cosyserve_workers.native.vocoder.stream import Vocoder

PARTS: dict[tuple[type, str], str] = {
    (Networks, "add"): "segment",
    (TokenProgram, "prefill"): "prefill",
    (TokenProgram, "decode"): "decode",
    (Sampler, "step"): "sampler",
    (Encoder, "__call__"): "encoder",
    (DitEncoder, "__call__"): "encoder",
    (Estimator, "velocity"): "estimator",
    (Dit, "velocity"): "estimator",
    (Flow, "voice_state"): "voice",
    (Flow, "advance"): "solve",
    (Vocoder, "advance"): "vocoder",
    (Networks, "prefill"): "prefill turn",
    (Networks, "decode"): "decode turn",
    (Networks, "collect"): "tokens",
    (Networks, "solve"): "solve turn",
}
"""What is called, and what it is. A turn has its parts in it, and what the engine does between them."""


@dataclass(frozen=True)
class Counted:
    """One call of a program. past: speech tokens behind the streams, their prompt among them."""

    program: str
    streams: int
    past: int
    count: Count


class Programs:
    """Listens at the programs, and keeps what the last call of each cost."""

    def __init__(self, counter: Counter) -> None:
        self.last: dict[str, Count] = {}
        self._counter = counter

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Stand between the engine and its parts."""
        with ExitStack() as stack:
            for (owner, name), program in PARTS.items():
                stack.enter_context(replaced(owner, name, self._counted(program)))
            yield

    def _counted(self, program: str) -> Callable[..., Any]:
        def call(run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            before = self._counter.count.copy()
            made = run(*args, **kwargs)
            self.last[program] = self._counter.count.since(before)
            return made

        return call


def count(networks: Networks, counter: Counter, streams: int, past: int) -> list[Counted]:
    """Count all programs with so many streams, so many tokens behind each, in a solve of a chunk."""
    programs = Programs(counter)
    with programs.listening():
        company = Company(networks, streams, past)
        counter.behind = past // CHUNK_TOKENS
        company.prefill()
        company.decode()
        company.open(streams)
        company.know(1)
        company.solve()
        company.leave()
    return [Counted(program, *_place(program, streams, past), cost) for program, cost in programs.last.items()]


def _place(program: str, streams: int, past: int) -> tuple[int, int]:
    """A segment is one stream's, a voice nobody's; nothing is behind them."""
    return {"segment": (1, 0), "voice": (1, 0), "prefill": (streams, 0), "prefill turn": (streams, 0)}.get(
        program, (streams, past)
    )
