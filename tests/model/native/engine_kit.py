"""The engine `native` under test: one on a small folder, what it draws, and what it is asked for."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from cosyserve.protocol import EngineConfig, Mode, Synthesize
from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from cosyserve_workers.native.engine import NativeEngine  # noqa: E402
from cosyserve_workers.native.lanes import using_threads  # noqa: E402
from cosyserve_workers.native.lm.sampling import Sampler  # noqa: E402
from cosyserve_workers.native.loading import create  # noqa: E402
from cosyserve_workers.native.vocoder.stream import VocoderStep  # noqa: E402

LONG = "收到好友从远方寄来的生日礼物，那份意外的惊喜与深深的祝福让我心中充满了甜蜜的快乐。"
ENGLISH = "The weather is fine today, isn't it? We walked 12 miles and saw 3 birds."


class Listening:
    """Around the sampler: what it drew, tokens by (seed, segment). fails: raises where this seed takes part."""

    def __init__(self) -> None:
        self.drawn: dict[tuple[int, int], list[int]] = {}
        self.fails: int | None = None
        self.wait = threading.Event()
        self.wait.set()
        self.steps = 0
        self._spoken: dict[int, tuple[int, int]] = {}

    def around(self, sampler: Sampler) -> "Listening":
        self._sampler = sampler
        return self

    def start(self, slot: int, seed: int, segment: int, minimum: int, maximum: int) -> None:
        self._spoken[slot] = (seed, segment)
        self.drawn[seed, segment] = []
        self._sampler.start(slot, seed, segment, minimum, maximum)

    def step(self, slots: Tensor, logits: Tensor) -> Tensor:
        self.wait.wait()
        self.steps += 1
        if self.fails in {self._spoken[slot][0] for slot in slots.tolist()}:
            raise ArithmeticError("a step that fails")
        tokens = self._sampler.step(slots, logits)
        for slot, token in zip(slots.tolist(), tokens.tolist(), strict=True):
            self.drawn[self._spoken[slot]].append(token)
        return tokens


def config(folder: Path, **changes: Any) -> EngineConfig:
    return EngineConfig("native", str(folder), **{"state_budget_gib": 0.5, "precision": "fp32", **changes})


@contextmanager
def engine_on(folder: Path, draws: Listening) -> Iterator[NativeEngine]:
    """On one core: there sound is the same to the bit, whoever shares the steps."""
    with using_threads(1):
        engine = create(config(folder), around=draws.around)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test, the shared engine holds nothing of any stream."""
    yield
    if "engine" in request.fixturenames:
        check_empty(request.getfixturevalue("engine"))


def check_empty(engine: NativeEngine) -> None:
    settled = threading.Event()
    engine._driver.post(settled.set)
    assert settled.wait(60)
    networks = engine._driver._networks
    assert networks._requests == {}
    assert networks._free == list(range(engine.streams))
    assert networks._lm.lengths == [0] * engine.streams
    assert networks.state_bytes == networks.renderer._voices.alive_bytes
    assert engine._driver._scheduler._streams == {}


def say(engine: NativeEngine, cancelled: Callable[[], bool] = kit.never, **changes: Any) -> NDArray[np.float32]:
    return kit.whole(engine.stream(kit.request(**changes), cancelled))


def difference(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The largest, relative to the largest value."""
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


class MelTap:
    """The mel that reaches an engine's vocoder, by the request's seed: of all its segments, [80, frames].

    Sound is compared where the mel is the same to the bit. Where it was computed in other pieces, and so rounded
    otherwise, the mel is compared: the pitch of a random checkpoint makes a thousandfold of what it is off by.
    """

    def __init__(self, engine: NativeEngine) -> None:
        self.mels: dict[int, list[Tensor]] = {}
        self.state_bytes = 0
        self._networks = engine._driver._networks

    def __enter__(self) -> Self:
        networks, vocoder = self._networks, self._networks.renderer.vocoder
        solve, advance = networks.solve, vocoder.advance
        spoken: dict[int, Tensor] = {}

        def solve_and_note(requests: Sequence[Any]) -> Any:
            heard = [(request.seed, request.to_be_heard()) for request in requests]
            sounds = solve(requests)
            for seed, segment in heard:
                self.mels.setdefault(seed, []).append(spoken.pop(id(segment.rendered.vocoder)))
            self.state_bytes = max(self.state_bytes, networks.state_bytes)
            return sounds

        def advance_and_note(steps: Sequence[VocoderStep]) -> list[Tensor]:
            for step in steps:
                spoken[id(step.stream)] = step.mel
            return advance(steps)

        networks.solve, vocoder.advance = solve_and_note, advance_and_note  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        del self._networks.solve, self._networks.renderer.vocoder.advance

    def mel(self, seed: int) -> NDArray[np.float32]:
        return torch.cat(self.mels[seed], dim=1).numpy()


def requests() -> list[Synthesize]:
    """Ten of all kinds: modes, lengths, voices, paces."""
    modes = list(Mode)
    voices = [kit.prompt(150 + 30 * index, 1.3 + 0.31 * index) for index in range(4)]
    texts = [kit.TEXT, ENGLISH, LONG, kit.SHORT]
    return [
        kit.request(
            modes[index % 3], texts[index % 4], seed=100 + index, prompt=voices[index % 4], speed=[1.0, 1.3][index == 5]
        )
        for index in range(10)
    ]
