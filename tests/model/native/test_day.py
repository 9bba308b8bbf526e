"""A day of random requests through the real scheduler and driver, every program by its graph: load has made all.

Graphs are replaced by recorders, in the short day by steps that run as they are: recording takes longer than all else.
What has no graph would run without and be counted; and what a graph is given has the same shapes and types each time.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from cosyserve_workers.native import networks as networks_module  # noqa: E402
from cosyserve_workers.native.cuda_graphs import COUNTS, Graphs  # noqa: E402
from cosyserve_workers.native.driver import Driver  # noqa: E402
from cosyserve_workers.native.features.voice import VoiceFeatures  # noqa: E402
from cosyserve_workers.native.flow import rows, solver  # noqa: E402
from cosyserve_workers.native.lanes import using_threads  # noqa: E402
from cosyserve_workers.native.lm import program as lm_program  # noqa: E402
from cosyserve_workers.native.memory_plan import GIB, Room  # noqa: E402
from cosyserve_workers.native.models import ModelFolder  # noqa: E402
from cosyserve_workers.native.networks import Networks, Plan  # noqa: E402
from cosyserve_workers.native.precision import Precision  # noqa: E402
from cosyserve_workers.native.utterances import Segment, Voice  # noqa: E402
from cosyserve_workers.native.vocoder import program as vocoder_program  # noqa: E402
from cosyserve_workers.native.vocoder import windows  # noqa: E402
from tests.model.native.recording import KERNELS, Recorder, Repeater  # noqa: E402

CPU = torch.device("cpu")
SPEEDS = (1.0, 1.0, 0.5, 0.8, 1.3, 2.0)
PAGE_BYTES = {"CosyVoice2": 3_300_000, "CosyVoice3": 1_900_000}
"""A little more than the state of a chunk takes."""


@dataclass(frozen=True)
class Day:
    """How much is asked for, and of what. prompts: speech tokens of voices. pages: chunks that the pool has room for.

    words: ids of the longest text. rows, vocoded, prefilled: numbers of rows that there are graphs for. positions: of
    the language model.
    """

    requests: int
    slots: int
    prompts: Sequence[int]
    words: int
    pages: int
    rows: tuple[int, ...]
    vocoded: tuple[int, ...]
    prefilled: tuple[int, ...]
    positions: int


SHORT = Day(7, 3, (25, 31, 60), 4, 3, (1, 2, 4, 8), (1, 2, 4), (16, 32), 192)
WHOLE = Day(
    500, 8, (*(25, 31, 40, 75, 111) * 3, 260, 750), 6, 40, rows.BUCKETS, windows.BUCKETS, (16, 32, 64, 128), 1152
)


@dataclass
class Given:
    """What graphs were given, by network and shape: the tensors' shapes and types."""

    seen: dict[Any, set[Any]] = field(default_factory=lambda: defaultdict(set))

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(graphs: Graphs, shape: Any, given: Sequence[Tensor], program: Any) -> Any:
            self.seen[graphs._what, shape].add(tuple((tuple(one.shape), one.dtype) for one in given))
            return call(graphs, shape, given, program)

        return noting


@contextmanager
def driving(folder: Path, day: Day, recorder: Recorder, given: Given) -> Iterator[Driver]:
    """As on a GPU that has our kernels, decoding beside what makes sound."""
    of_model = ModelFolder.at(folder)
    state = day.pages * PAGE_BYTES[of_model.model.name]
    plan = Plan(day.slots, state, 100, solve_width=4, prefill_rows=day.prefilled[-1], steps_behind=1, tracks=2)
    with pytest.MonkeyPatch.context() as patch, using_threads(1):
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        patch.setattr(solver, "kernels_for", lambda _: KERNELS)
        patch.setattr(networks_module, "recorder_for", lambda *_: recorder)
        patch.setattr(Graphs, "call", given.around(Graphs.call))
        patch.setattr(networks_module, "MAX_POSITIONS", day.positions)
        patch.setattr(lm_program, "PREFILL_BUCKETS", day.prefilled)
        for module in (rows, solver):
            patch.setattr(module, "BUCKETS", day.rows)
        patch.setattr(rows, "SHARED", min(rows.SHARED, day.rows[-1]))
        for module in (windows, vocoder_program):
            patch.setattr(module, "BUCKETS", day.vocoded)
        networks = Networks.load(of_model, Room(CPU, 64 * GIB, 64 * GIB), Precision("fp32"), plan)
        driver = Driver(networks)
        yield driver
        driver.close()


def voice_of(prompt: int, number: int) -> Voice:
    dice = torch.Generator().manual_seed(prompt + number)
    tokens = torch.randint(0, 6561, (prompt,), generator=dice)
    mel, speaker = torch.randn(2 * prompt, 80, generator=dice) - 5, torch.randn(192, generator=dice)
    return Voice(f"{prompt} {number}", VoiceFeatures(tokens, mel, speaker))


def watched(driver: Driver) -> tuple[list[int], list[int]]:
    """What is noted from now on: of each solve how many streams it is of, and of those who find no room."""
    networks = driver._networks
    solve = networks.solve
    solves: list[int] = []
    without: list[int] = []

    def noting(requests: Sequence[Any]) -> Any:
        solves.append(len(requests))
        solving = solve(requests)
        solving.add_done_callback(lambda done: without.extend(1 for sound in done.result() if not sound.chunk.carried))
        return solving

    networks.solve = noting  # type: ignore[method-assign]
    return solves, without


class Impatient:
    """A listener who leaves when it was asked so often; most never do."""

    def __init__(self, seed: int, dice: random.Random) -> None:
        self._left = dice.randrange(80) if seed % 5 == 4 else None
        self.left = False

    def __call__(self) -> bool:
        if self._left is not None:
            self._left -= 1
            self.left = self._left < 0
        return self.left


def speak(driver: Driver, day: Day, seed: int) -> str:
    """One request. Returns what became of it."""
    dice = random.Random(seed)
    voice = voice_of(dice.choice(day.prompts), dice.randrange(4))
    listener = Impatient(seed, dice)
    utterance = driver.begin(voice, seed, dice.choice(SPEEDS), listener)
    for _ in range(dice.choice((1, 1, 1, 2))):
        opening = [21, 22, 23][: dice.randrange(4)]
        continued = voice.features.speech_tokens.tolist() if dice.random() < 0.5 else []
        utterance.say(Segment(opening, [dice.randrange(100) for _ in range(dice.randint(1, day.words))], continued))
    utterance.finish()
    sounds = list(utterance.rest())
    assert all(np.isfinite(sound).all() for sound in sounds)
    if not listener.left:
        assert sum(map(len, sounds))
    return "left" if listener.left else "heard"


WHOLE_TAKES = [pytest.mark.full, pytest.mark.timeout(7200)]


@pytest.mark.parametrize(
    ("folder", "day"),
    [
        pytest.param("small_checkpoint", SHORT, id="2-short"),
        pytest.param("small_checkpoint_3", SHORT, id="3-short", marks=pytest.mark.full),
        pytest.param("small_checkpoint", WHOLE, id="2-whole", marks=WHOLE_TAKES),
        pytest.param("small_checkpoint_3", WHOLE, id="3-whole", marks=WHOLE_TAKES),
    ],
)
def test_nothing_that_load_made_no_graph_for_reaches_a_program(
    request: pytest.FixtureRequest, folder: str, day: Day
) -> None:
    recorder, given = Repeater() if day is SHORT else Recorder(), Given()
    before = dict(COUNTS)
    with driving(request.getfixturevalue(folder), day, recorder, given) as driver:
        made = 2 * len(day.rows) + len(day.vocoded) + len(day.prefilled) + len(lm_program.decode_buckets(day.slots))
        assert recorder.recorded == made
        assert driver._networks.found["graphs"].startswith(f"{made} recorded in ")
        loaded = dict(COUNTS)
        assert loaded == {**before, "graph_captures": before["graph_captures"] + made}
        solves, without_room = watched(driver)
        with ThreadPoolExecutor(day.slots) as pool:
            became = list(pool.map(lambda seed: speak(driver, day, seed), range(day.requests)))
        assert dict(COUNTS) == loaded
        assert recorder.recorded == made
        assert driver._networks._requests == {}
    assert all(len(kinds) == 1 for kinds in given.seen.values())
    assert {"heard", "left"} <= set(became)
    assert solves
    assert without_room, "the pool was exhausted"
    print(f"{Counter(became)}; {len(solves)} solves, {len(without_room)} without room; {recorder.replayed} replays")
