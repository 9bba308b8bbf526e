"""Tokens that are read a step after they were launched: whose they are, and that nobody hears the difference."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
from cosyserve_workers.native.driver import Driver, Utterance  # noqa: E402
from cosyserve_workers.native.features.voice import VoiceFeatures  # noqa: E402
from cosyserve_workers.native.lanes import using_threads  # noqa: E402
from cosyserve_workers.native.memory_plan import GIB, Room  # noqa: E402
from cosyserve_workers.native.models import ModelFolder  # noqa: E402
from cosyserve_workers.native.networks import Networks, Plan  # noqa: E402
from cosyserve_workers.native.precision import Precision  # noqa: E402
from cosyserve_workers.native.utterances import Request, Segment, Voice  # noqa: E402
from tests.model.conftest import first  # noqa: E402

CPU = torch.device("cpu")
BEHIND = (0, 1)
WORDS = ([5, 6, 7], [8, 9, 10, 11, 12], [3, 1])


def voice() -> Voice:
    dice = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 6561, (40,), generator=dice)
    mel = torch.randn(80, 80, generator=dice) - 5
    return Voice("a voice", VoiceFeatures(tokens, mel, torch.randn(192, generator=dice)))


def segment(words: Sequence[int]) -> Segment:
    return Segment([21, 22], words, voice().features.speech_tokens.tolist())


def plan(slots: int, behind: int) -> Plan:
    return Plan(slots, wanted_state=0, chunk_tokens=25, solve_width=2, prefill_rows=64, steps_behind=behind)


def load(folder: Path, slots: int, behind: int) -> Networks:
    return Networks.load(ModelFolder.at(folder), Room(CPU, 8 * GIB, 8 * GIB), Precision("fp32"), plan(slots, behind))


@pytest.fixture(scope="module")
def networks(small_checkpoint: Path) -> Networks:
    return load(small_checkpoint, 2, 0)


def say(networks: Networks, request: Request, behind: int, steps: int = 1000) -> list[int]:
    """Prefill a request's segment, and decode it to its end or so many steps: its tokens so far."""
    spoken = next(one for one in request.segments if not one.ended)
    networks.prefill([(request, len(spoken.rest))])
    drawn = networks.collect(behind)
    for _ in range(steps):
        if spoken.ended:
            break
        networks.decode([request])
        drawn += networks.collect(behind)
    assert all(taker is request for taker, _ in drawn)
    return spoken.tokens


def alone(networks: Networks, seed: int, words: Sequence[Sequence[int]]) -> list[list[int]]:
    """The tokens of each segment of a request that nobody disturbs."""
    request = networks.open(seed, 1.0, voice())
    for part in words:
        networks.add(request, segment(part))
    spoken = [say(networks, request, 0) for _ in words]
    networks.close(request)
    return spoken


def test_a_late_token_belongs_to_whoever_held_the_slot_at_its_step(networks: Networks) -> None:
    wanted = alone(networks, 2, [WORDS[1]])
    first = networks.open(1, 1.0, voice())
    networks.add(first, segment(WORDS[0]))
    before = list(say(networks, first, 1, steps=3))
    assert len(before) == 3, "one is on its way"
    networks.close(first)
    second = networks.open(2, 1.0, voice())
    assert second.slot == first.slot
    networks.add(second, segment(WORDS[1]))
    assert [say(networks, second, 1)] == wanted
    assert networks.collect(0) == []
    assert first.segments[0].tokens == before
    networks.close(second)


def test_a_late_token_is_not_the_next_segments(networks: Networks) -> None:
    wanted = alone(networks, 3, WORDS)
    request = networks.open(3, 1.0, voice())
    for words in WORDS:
        networks.add(request, segment(words))
    assert [say(networks, request, 1) for _ in WORDS] == wanted
    networks.close(request)


def test_no_more_steps_are_asked_for_than_a_segment_may_have(networks: Networks) -> None:
    request = networks.open(4, 1.0, voice())
    networks.add(request, segment(WORDS[0]))
    spoken = request.segments[0]
    spoken.limits = (3, 3)
    networks.prefill([(request, len(spoken.rest))])
    for _ in range(4):
        networks.decode([request])
    assert (spoken.asked, networks._lm.lengths[request.slot]) == (3, len(segment(WORDS[0]).text) + 40 + 2 + 2 + 2)
    assert [(token.token, token.ended) for _, token in networks.collect(0)] == [(True, False)] * 2 + [(True, True)]
    networks.close(request)


@contextmanager
def driving(folder: Path, slots: int, behind: int) -> Iterator[Driver]:
    with using_threads(1):
        driver = Driver(load(folder, slots, behind), plan(slots, behind))
        yield driver
        driver.close()


def begin(driver: Driver, seed: int, words: Sequence[Sequence[int]], cancelled: list[bool]) -> Utterance:
    utterance = driver.begin(voice(), seed, 1.0, lambda: bool(cancelled))
    for part in words:
        utterance.say(segment(part))
    utterance.finish()
    return utterance


def heard(utterance: Utterance) -> NDArray[np.float32]:
    return np.concatenate(list(utterance.rest()))


@pytest.mark.full
def test_nobody_hears_how_far_the_host_is_behind(small_checkpoint: Path) -> None:
    sounds = []
    for behind in BEHIND:
        with driving(small_checkpoint, 3, behind) as driver:
            sounds.append([heard(one) for one in [begin(driver, seed, WORDS[seed:], []) for seed in range(3)]])
    for at_once, late in zip(*sounds, strict=True):
        np.testing.assert_allclose(late, at_once, atol=1e-4)


@pytest.mark.full
@pytest.mark.parametrize("behind", first(reversed(BEHIND)))
def test_who_takes_the_place_of_one_that_was_cancelled(small_checkpoint: Path, behind: int) -> None:
    with driving(small_checkpoint, 1, behind) as driver:
        wanted = heard(begin(driver, 5, WORDS, []))
        cancelled: list[bool] = []
        first = begin(driver, 6, [list(range(60))], cancelled)
        next(first.rest())
        cancelled.append(True)
        list(first.rest())
        np.testing.assert_allclose(heard(begin(driver, 5, WORDS, [])), wanted, atol=1e-4)
