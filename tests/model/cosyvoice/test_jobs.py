"""Requests beside and after each other: chunk sizes, cancellation, failures, and what is left behind."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from cosyserve.protocol import Mode
from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
pytestmark = kit.LIBRARY


def after(steps: int) -> Callable[[], bool]:
    """Answers True from the step after that on."""
    asked = iter(range(steps))
    return lambda: next(asked, None) is None


class Fault:
    """The language model, which breaks for those threads that ask for it, at the step they name."""

    def __init__(self, network: Any) -> None:
        self._good = network.forward_one_step
        self._mine = threading.local()

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        self._mine.steps_left = step
        yield
        del self._mine.steps_left

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        steps_left = getattr(self._mine, "steps_left", None)
        if steps_left is not None:
            if steps_left == 0:
                raise FloatingPointError("the language model is broken")
            self._mine.steps_left = steps_left - 1
        return self._good(*args, **kwargs)


@pytest.fixture
def fault(library: Any, monkeypatch: pytest.MonkeyPatch) -> Fault:
    network = library.model.llm.llm
    fault = Fault(network)
    monkeypatch.setattr(network, "forward_one_step", fault)
    return fault


def left_behind(library: Any) -> dict[str, Any]:
    """The library's dictionaries that are not empty."""
    owners = (library.model, library.model.llm, library.model.flow, library.model.hift)
    return {
        name: value
        for owner in owners
        for name, value in vars(owner).items()
        if name.endswith(("_dict", "_queue")) and value
    }


@pytest.mark.full
def test_no_request_waits_because_of_an_earlier_one(cosyvoice: Any, library: Any) -> None:
    # As the newest library leaves its shared chunk size after two or three requests.
    library.model.token_hop_len = 100
    firsts = []
    for seed in range(5):
        with kit.Tap(library.model.flow, "inference") as sounds:
            chunks = cosyvoice.stream(kit.request(seed=seed), kit.never)
            next(chunks)
            chunks.close()
        firsts.append(sounds.calls[0]["token"].shape[1])
    prompt_tokens = sounds.calls[0]["prompt_token"].shape[1]
    assert set(firsts) == {25 + -prompt_tokens % 25 + 3}
    assert library.model.token_hop_len == 100, "the library's own attribute is none of our business"
    library.model.token_hop_len = 25


@pytest.mark.full
def test_chunks_grow_and_end_on_the_grid_of_the_models_training(cosyvoice: Any, library: Any) -> None:
    with kit.Tap(library.model.flow, "inference") as sounds:
        kit.whole(cosyvoice.stream(kit.request(text=kit.TEXT * 4), kit.never))
    prompt_tokens = sounds.calls[0]["prompt_token"].shape[1]
    ends = [prompt_tokens + call["token"].shape[1] - 3 for call in sounds.calls if not call["finalize"]]
    assert len(ends) > 2
    assert all(end % 25 == 0 for end in ends)
    assert np.diff(ends)[0] == 50


@pytest.mark.full
@pytest.mark.parametrize("requests", [20, pytest.param(200, marks=[pytest.mark.full, pytest.mark.timeout(1800)])])
def test_many_requests_leave_nothing_behind(requests: int, cosyvoice: Any, library: Any, fault: Fault) -> None:
    threads_before = set(threading.enumerate())
    endings: list[str] = []

    def run(number: int) -> None:
        mode = list(Mode)[number % 3]
        match number % 5:
            case 0 | 1:
                # Cancelled at the start, between tokens, before the flow.
                chunks = list(cosyvoice.stream(kit.request(mode, seed=number), after(number % 40)))
                endings.append("cancelled" if not chunks else "late")
            case 2:
                with fault.at(number % 3), pytest.raises(FloatingPointError, match="is broken"):
                    list(cosyvoice.stream(kit.request(mode, kit.SHORT, seed=number), kit.never))
                endings.append("failed")
            case 3:
                # Its reader goes away in the middle.
                stream = cosyvoice.stream(kit.request(mode, seed=number), kit.never)
                next(stream)
                stream.close()
                endings.append("closed")
            case _:
                assert kit.whole(cosyvoice.stream(kit.request(mode, kit.SHORT, seed=number), kit.never)).size
                endings.append("finished")

    def share(start: int) -> None:
        for number in range(start, requests, 3):
            run(number)

    with kit.running(*(lambda start=start: share(start) for start in range(3))):
        pass
    assert {ending: endings.count(ending) for ending in set(endings)} == {
        "cancelled": requests * 2 // 5,
        "failed": requests // 5,
        "closed": requests // 5,
        "finished": requests // 5,
    }
    assert left_behind(library) == {}
    assert set(threading.enumerate()) == threads_before


def test_cancelling_stops_the_language_model_at_its_next_step(cosyvoice: Any, library: Any) -> None:
    with kit.Tap(library.model.llm.llm, "forward_one_step") as steps:
        assert list(cosyvoice.stream(kit.request(), after(6))) == []
    # Asked before the text, before the segment, and before each token.
    assert len(steps.calls) == 4


def test_a_failure_of_the_language_model_is_the_requests(cosyvoice: Any, fault: Fault) -> None:
    with fault.at(60):
        stream = cosyvoice.stream(kit.request(), kit.never)
        assert next(stream).size, "the first chunk was made before the failure"
        with pytest.raises(FloatingPointError):
            next(stream)
    assert kit.whole(cosyvoice.stream(kit.request(text=kit.SHORT), kit.never)).size


@pytest.mark.full
def test_a_seed_gives_the_same_sound_alone_and_beside_others(cosyvoice: Any) -> None:
    alone = kit.whole(cosyvoice.stream(kit.request(Mode.ZERO_SHOT, seed=3), kit.never))
    beside: dict[int, Any] = {}

    def speak(seed: int) -> None:
        beside[seed] = kit.whole(cosyvoice.stream(kit.request(Mode.ZERO_SHOT, seed=seed), kit.never))

    with kit.running(*(lambda seed=seed: speak(seed) for seed in (3, 4, 5))):
        pass
    np.testing.assert_array_equal(beside[3], alone)
    assert not np.array_equal(beside[4][: len(alone)], alone[: len(beside[4])])


def test_a_request_leaves_the_processs_generator_alone(cosyvoice: Any) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    kit.whole(cosyvoice.stream(kit.request(text=kit.SHORT), kit.never))
    assert torch.equal(torch.get_rng_state(), before)


def test_warming_up_speaks(cosyvoice: Any, library: Any) -> None:
    with kit.Tap(library.model.hift, "inference") as sounds:
        cosyvoice.warm_up()
    assert sounds.calls
