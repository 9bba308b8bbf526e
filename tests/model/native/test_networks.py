"""Tokens that are read a step after they were launched, and sound that is made beside them: whose they are, and that
nobody hears the difference."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
ALIKE = 0.999
"""Correlation: what was solved in other company is rounded otherwise, and a random vocoder's pitch makes much of it."""
WORDS = ([5, 6, 7], [8, 9, 10, 11, 12], [3, 1])


def voice() -> Voice:
    dice = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 6561, (40,), generator=dice)
    mel = torch.randn(80, 80, generator=dice) - 5
    return Voice("a voice", VoiceFeatures(tokens, mel, torch.randn(192, generator=dice)))


def segment(words: Sequence[int]) -> Segment:
    return Segment([21, 22], words, voice().features.speech_tokens.tolist())


def load(folder: Path, slots: int, behind: int, tracks: int = 1, state: int = 0) -> Networks:
    plan = Plan(slots, state, chunk_tokens=25, solve_width=2, prefill_rows=64, steps_behind=behind, tracks=tracks)
    return Networks.load(ModelFolder.at(folder), Room(CPU, 8 * GIB, 8 * GIB), Precision("fp32"), plan)


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
def driving(folder: Path, slots: int, behind: int, tracks: int = 1) -> Iterator[Driver]:
    with using_threads(1):
        driver = Driver(load(folder, slots, behind, tracks))
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


@pytest.mark.parametrize(("behind", "tracks"), first([(1, 2), (1, 1), (0, 2)]))
def test_nobody_hears_how_far_the_host_is_behind_or_what_goes_on_beside(
    small_checkpoint: Path, behind: int, tracks: int
) -> None:
    sounds = []
    for way in ((0, 1), (behind, tracks)):
        with driving(small_checkpoint, 3, *way) as driver:
            sounds.append([heard(one) for one in [begin(driver, seed, WORDS[seed:], []) for seed in (1, 2)]])
    for at_once, late in zip(*sounds, strict=True):
        assert len(late) == len(at_once)
        assert np.corrcoef(late, at_once)[0, 1] > ALIKE


@pytest.mark.full
@pytest.mark.parametrize(("behind", "tracks"), first([(1, 1), (0, 1), (1, 2)]))
def test_who_takes_the_place_of_one_that_was_cancelled(small_checkpoint: Path, behind: int, tracks: int) -> None:
    with driving(small_checkpoint, 1, behind, tracks) as driver:
        wanted = heard(begin(driver, 5, WORDS, []))
        cancelled: list[bool] = []
        first = begin(driver, 6, [list(range(60))], cancelled)
        next(first.rest())
        cancelled.append(True)
        list(first.rest())
        np.testing.assert_allclose(heard(begin(driver, 5, WORDS, [])), wanted, atol=1e-4)


class Held:
    """The track that makes sound, held up: nothing more is made on it until it goes on."""

    def __init__(self, networks: Networks) -> None:
        self._gone_on = threading.Event()
        self.asked = threading.Event()
        """Whether a solve was asked for since."""
        solve = networks.solve
        networks._tracks.sound.submit(self._gone_on.wait)

        def noting(requests: Sequence[Request]) -> Any:
            solving = solve(requests)
            self.asked.set()
            return solving

        networks.solve = noting  # type: ignore[method-assign]

    def go_on(self) -> None:
        self._gone_on.set()


def test_one_who_left_is_not_heard_in_the_place_that_another_took_meanwhile(small_checkpoint: Path) -> None:
    with driving(small_checkpoint, 1, 1, 2) as driver:
        wanted = heard(begin(driver, 5, WORDS[2:], []))
        held = Held(driver._networks)
        first = begin(driver, 6, [list(range(20))], [])
        assert held.asked.wait(60)
        first.leave()
        second = begin(driver, 5, WORDS[2:], [])
        assert list(first.rest()) == []
        held.go_on()
        np.testing.assert_allclose(heard(second), wanted, atol=1e-4)
        assert driver._networks._requests == {}


def test_what_goes_wrong_on_the_other_track_ends_those_who_took_part(small_checkpoint: Path) -> None:
    with driving(small_checkpoint, 2, 1, 2) as driver:
        wanted = heard(begin(driver, 5, WORDS[2:], []))
        vocoder: Any = driver._networks.renderer.vocoder
        vocoder.advance = lambda _: 1 / 0
        with pytest.raises(ZeroDivisionError):
            heard(begin(driver, 6, WORDS[2:], []))
        del vocoder.advance
        np.testing.assert_allclose(heard(begin(driver, 5, WORDS[2:], [])), wanted, atol=1e-4)


def test_pages_that_a_solve_reads_are_free_when_it_is_past(small_checkpoint: Path) -> None:
    with using_threads(1):
        networks = load(small_checkpoint, 2, 0, tracks=2, state=40_000_000)
        pool = networks.renderer.flow.pool
        request = networks.open(1, 1.0, voice())
        networks.add(request, segment(list(range(20))))
        say(networks, request, 0, steps=60)
        networks.solve([request]).result()
        room = pool.room
        held = Held(networks)
        solving = networks.solve([request])
        networks.close(request)
        other = networks.open(2, 1.0, voice())
        assert (other.slot, pool.room) == (request.slot, room)
        held.go_on()
        (sound,) = solving.result()
        assert sound.chunk.carried
        networks.close(other)
        networks.end()
        assert room is not None
        assert pool.room == room + 1
        assert networks.renderer._streams_bytes == 0
