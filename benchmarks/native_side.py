"""One side of the comparison, in a process of its own: takes in on stdin, what was heard out on stdout, as JSON.

`native` is our own inference. `loop` is the CosyVoice library in its own loop, `own_loop`, with a chunk size for each
request that grows 25, 50, 100. `library` is the same library driven by the engine `cosyvoice`: first chunks in the
order of arrival, turns on the processor, no polling: better than any server that wraps it.

All pay for every step of the language model and for sampling; then the token that was drawn is replaced by a given
one, so that both speak the same tokens, as many as asked for.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.own_loop import OwnLoop
from benchmarks.takes import SAMPLE_RATE, TOKENS_PER_S, Heard, Session, Stream, Take
from cosyserve.protocol import EngineConfig, Mode, Prompt, Synthesize
from cosyserve_workers.engine import Engine

STOP = 6561
PROMPT_RATE = 16_000
TEXT = "收到好友从远方寄来的生日礼物，那份意外的惊喜与深深的祝福让我心中充满了甜蜜的快乐，笑容如花儿般绽放。"
"""One segment, and of a length that speech of 125 to 1000 tokens may have."""
REHEARSALS = (("收到好友从远方寄来的生日礼物。", 60), ("好的。", 10))
"""What is said before anything is measured, and how many tokens long: once with the first voice, so that memory has
been touched and libraries have chosen their ways; and once with each voice, so that it has been seen."""
TRANSCRIPT = "希望你以后能够做的比我还好呦。"


class Side(Protocol):
    """An engine whose language model says what it is told to."""

    engine: Engine

    def force(self, seed: int, tokens: Sequence[int]) -> None:
        """Have the request with this seed, to be streamed on this thread, say these tokens."""


class ForcedDraws:
    """Around the native engine's sampler: has it sample, and then says something else."""

    def __init__(self, sampler: Any) -> None:
        import torch

        self._tensor = torch.tensor
        self._sampler = sampler
        self._given: dict[int, list[int]] = {}
        shape = (sampler.slots + 1, sampler.max_steps + 1)
        self._said = torch.full(shape, STOP, dtype=torch.int64, device=sampler.device)
        self._steps = torch.zeros(shape[0], dtype=torch.int64, device=sampler.device)

    def give(self, seed: int, tokens: Sequence[int]) -> None:
        """What the request with this seed is to say."""
        self._given[seed] = list(tokens)

    def start(self, slot: int, seed: int, segment: int, minimum: int, maximum: int) -> None:
        """Begin a segment. Requests nobody gave tokens for, as the warm-up, end at once."""
        self._sampler.start(slot, seed, segment, minimum, maximum)
        tokens = self._given.pop(seed, [])
        self._said[slot] = STOP
        self._said[slot, : len(tokens)] = self._tensor(tokens)
        self._steps[slot] = 0

    def step(self, slots: Any, logits: Any) -> Any:
        """Draw, and give out the next of the given tokens instead. A graph may hold it."""
        self._sampler.step(slots, logits)
        steps = self._steps[slots]
        self._steps[slots] = steps + 1
        return self._said[slots, steps.clamp(max=self._sampler.max_steps)]


class Native:
    """The engine `native`."""

    def __init__(self, config: EngineConfig) -> None:
        from cosyserve_workers.native.loading import create

        def around(sampler: Any) -> ForcedDraws:
            self._draws = ForcedDraws(sampler)
            return self._draws

        self.engine: Engine = create(config, around=around)

    def force(self, seed: int, tokens: Sequence[int]) -> None:
        """As `Side` says."""
        self._draws.give(seed, tokens)


class Library:
    """The library, by the engine `cosyvoice`."""

    def __init__(self, config: EngineConfig) -> None:
        from cosyserve_workers.cosyvoice.factory import create

        engine = create(config)
        self.engine: Engine = engine
        self._asked = threading.local()
        llm = engine.library.model.llm
        self._sampling = llm.sampling
        llm.sampling = self._sample

    def force(self, seed: int, tokens: Sequence[int]) -> None:
        """As `Side` says: the seed is the thread's own."""
        del seed
        self._asked.tokens = list(tokens)

    def _sample(self, scores: Any, said: list[int], count: int) -> Any:
        import torch

        self._sampling(scores, said, count)
        tokens = self._asked.tokens
        return torch.tensor([tokens[len(said)] if len(said) < len(tokens) else STOP])


class Loop:
    """The library, in its own loop."""

    def __init__(self, config: EngineConfig) -> None:
        engine = OwnLoop(config)
        self.engine: Engine = engine
        self._force = engine.force

    def force(self, seed: int, tokens: Sequence[int]) -> None:
        """As `Side` says: all that speak at once say the same."""
        del seed
        self._force(tokens)


SIDES: dict[str, type[Native] | type[Library] | type[Loop]] = {"native": Native, "library": Library, "loop": Loop}


def main() -> None:
    """Load, speak each take, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=list(SIDES))
    parser.add_argument("--model-dir", required=True)
    parser.add_argument("--source-dir", default="")
    parser.add_argument("--state-gib", type=float, required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--language-model", default="auto")
    args = parser.parse_args()
    takes = [Take(**take) for take in json.load(sys.stdin)]
    config = EngineConfig(
        "native" if args.side == "native" else "cosyvoice",
        args.model_dir,
        source_dir=args.source_dir,
        precision=args.precision,
        language_model=args.language_model,
        tensorrt="false",
        streams=max(take.at_once for take in takes),
        state_budget_gib=args.state_gib,
    )
    side = SIDES[args.side](config)
    rehearse(side, takes)
    heard = [play(side, take) for take in takes]
    side.engine.close()
    # In a line of its own, the last one: the library may print.
    print()
    print(json.dumps(Session(heard, peak_bytes(), dict(side.engine.details)).as_json()))


def rehearse(side: Side, takes: Sequence[Take]) -> None:
    """Say what is not measured."""
    once, for_each = REHEARSALS
    voices = dict.fromkeys(take.prompt for take in takes)
    for prompt, (text, tokens) in [(takes[0].prompt, once), *((prompt, for_each) for prompt in voices)]:
        speak(side, Said(0, text, voice(prompt), forced(tokens)), time.monotonic())


def play(side: Side, take: Take) -> Heard:
    """Begin its requests together, and hear them all to the end."""
    prompt, tokens = voice(take.prompt), forced(take.tokens)
    together = threading.Barrier(take.at_once + 1)

    def request(seed: int) -> Stream:
        together.wait()
        return speak(side, Said(seed, TEXT, prompt, tokens), started[0])

    started = [0.0]
    with ThreadPoolExecutor(take.at_once) as pool:
        asked = [pool.submit(request, seed) for seed in range(1, take.at_once + 1)]
        cpu, started[0] = time.process_time(), time.monotonic()
        together.wait()
        streams = [one.result() for one in asked]
        wall_s, cpu_s = time.monotonic() - started[0], time.process_time() - cpu
    return Heard(streams, wall_s, cpu_s)


@dataclass(frozen=True)
class Said:
    """One request. tokens: what is heard; the text is what the language model is made to read."""

    seed: int
    text: str
    prompt: Prompt
    tokens: Sequence[int]


def speak(side: Side, said: Said, started: float) -> Stream:
    """Stream a request, on this thread. Raises RuntimeError where the sound is not as long as the tokens."""
    side.force(said.seed, said.tokens)
    request = Synthesize(said.seed, said.text, Mode.ZERO_SHOT, "", TRANSCRIPT, said.prompt, 1.0, said.seed)
    chunks = [(time.monotonic() - started, len(samples)) for samples in side.engine.stream(request, lambda: False)]
    samples = sum(size for _, size in chunks)
    if samples != len(said.tokens) * SAMPLE_RATE // TOKENS_PER_S:
        raise RuntimeError(f"{len(said.tokens)} tokens became {samples} samples: not what was to be measured")
    return Stream(chunks)


def forced(count: int) -> list[int]:
    """The tokens that every request says."""
    tokens: list[int] = np.random.default_rng(count).integers(0, STOP, count).tolist()
    return tokens


def voice(tokens: int) -> Prompt:
    """Make a recording that has so many speech tokens: a buzz with a melody."""
    times = np.arange(tokens * PROMPT_RATE // TOKENS_PER_S) / PROMPT_RATE
    phase = 2 * np.pi * np.cumsum(180 + 60 * np.sin(2 * np.pi * 0.7 * times)) / PROMPT_RATE
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 8))
    samples: NDArray[np.float32] = (0.2 * buzz * (1.2 + np.sin(2 * np.pi * 4 * times)) / 2).astype(np.float32)
    return Prompt(samples, PROMPT_RATE, f"{tokens} tokens")


def peak_bytes() -> int:
    """The most memory that this process ever had resident, mapped files among it."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
