"""The batched sampler, against a plain one written from the definition and fed with the same draws."""

import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from cosyserve_workers.native.lm.sampling import Sampler, length_limits, uniform_draws

VOCAB = 6564
STOP = 6561
CPU = torch.device("cpu")


def sampler_for(slots: int, steps: int, vocab: int = VOCAB) -> Sampler:
    return Sampler(slots, steps, vocab, range(STOP, vocab), CPU)


def draw(sampler: Sampler, slots: Iterable[int], logits: Tensor) -> Tensor:
    return sampler.step(torch.tensor(list(slots)), logits)


def plain_token(logits: Tensor, spoken: list[int], minimum: int, draws: Tensor) -> int:
    """One step of one stream, [vocab] logits, straight from the definition."""
    scores = logits.clone()
    if len(spoken) < minimum:
        scores[STOP:] = -math.inf
    probabilities = scores.softmax(dim=0).tolist()
    nucleus: list[int] = []
    summed = 0.0
    for token in sorted(range(len(probabilities)), key=lambda token: -probabilities[token]):  # stable, as the sort is
        if summed >= 0.8 or len(nucleus) >= 25:
            break
        summed += probabilities[token]
        nucleus.append(token)
    chosen = plain_draw([probabilities[token] for token in nucleus], draws[0].item())
    if spoken[-10:].count(nucleus[chosen]) < 10 * 0.1:
        return nucleus[chosen]
    scores[nucleus[chosen]] = -math.inf
    return plain_draw(scores.softmax(dim=0).tolist(), draws[1].item())


def plain_draw(probabilities: list[float], draw: float) -> int:
    """The first index up to which more than `draw` times the whole has been summed."""
    whole = 0.0
    for probability in probabilities:
        whole += probability
    summed = 0.0
    for index, probability in enumerate(probabilities):
        summed += probability
        if summed > draw * whole:
            return index
    raise AssertionError(draw)


def random_logits(rows: int, sharpness: float, generator: torch.Generator) -> Tensor:
    """Random logits with a few favourites, always the same and the stop among them: with those, tokens repeat."""
    favourites = torch.zeros(VOCAB)
    favourites[STOP - 11 : STOP + 1] = sharpness
    return favourites + torch.randn(rows, VOCAB, generator=generator)


@pytest.mark.parametrize("sharpness", [0.0, 4.0, 6.0, 9.0, 14.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_are_those_of_the_plain_sampler(sharpness: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(int(sharpness))
    slots, steps, minimum = 6, 40, 15
    sampler = sampler_for(slots, steps)
    for slot in range(slots):
        sampler.start(slot, seed=slot, segment=1, minimum=minimum, maximum=steps)
    draws = [uniform_draws(slot, 1, steps) for slot in range(slots)]
    spoken: list[list[int]] = [[] for _ in range(slots)]
    repeated = 0
    for step in range(steps):
        logits = random_logits(slots, sharpness, generator).to(dtype).float()
        order = torch.randperm(slots, generator=generator).tolist()
        tokens = draw(sampler, order, logits).tolist()
        for row, (slot, token) in enumerate(zip(order, tokens, strict=True)):
            assert token == plain_token(logits[row], spoken[slot], minimum, draws[slot][step])
            assert token != STOP or step >= minimum
            repeated += token in spoken[slot][-10:]
            spoken[slot].append(token)
    assert repeated or sharpness < 6  # the case the sampler is named after did come up


def test_a_repeated_token_is_masked_before_drawing_again() -> None:
    sampler = sampler_for(1, 30)
    sampler.start(0, seed=3, segment=0, minimum=0, maximum=30)
    logits = torch.zeros(1, VOCAB)
    logits[0, 77] = 40.0
    tokens = [draw(sampler, [0], logits).item() for _ in range(30)]
    spoken = [step for step, token in enumerate(tokens) if token == 77]
    assert spoken == [0, 11, 22]  # ten others must go by


@pytest.mark.parametrize(
    ("vocab", "stop"), [(VOCAB, STOP), (VOCAB, STOP + 1), (VOCAB, STOP + 2), (6761, STOP), (6761, 6760)]
)
def test_all_stops_wait_for_the_minimum(vocab: int, stop: int) -> None:
    sampler = sampler_for(1, 8, vocab)
    sampler.start(0, seed=5, segment=0, minimum=4, maximum=8)
    logits = torch.zeros(1, vocab)
    logits[0, stop] = 50.0
    tokens = [draw(sampler, [0], logits).item() for _ in range(5)]
    assert tokens.index(stop) == 4
    assert max(tokens[:4]) < STOP


def test_equal_scores_are_taken_by_rising_id() -> None:
    sampler = sampler_for(1, 200)
    sampler.start(0, seed=6, segment=0, minimum=0, maximum=200)
    seen: set[int] = set()
    for _ in range(200):
        sampler._state[:, 2:] = -1  # nothing counts as repeated
        seen.add(int(draw(sampler, [0], torch.zeros(1, VOCAB)).item()))
    assert seen == set(range(25))


def test_a_seed_gives_the_same_tokens_in_any_company() -> None:
    generator = torch.Generator().manual_seed(8)
    logits = random_logits(30, 6.0, generator)
    alone, shared = sampler_for(1, 30), sampler_for(5, 30)
    alone.start(0, seed=9, segment=2, minimum=3, maximum=30)
    others = random_logits(30 * 4, 6.0, generator).view(30, 4, VOCAB)
    for slot in range(5):
        shared.start(slot, seed=50, segment=0, minimum=0, maximum=30)
    for step in range(5):
        draw(shared, [0, 1, 3], others[step, :3])
    shared.start(3, seed=9, segment=2, minimum=3, maximum=30)
    for step, row in enumerate(logits):
        company = [0, 3, 4] if step % 2 else [3]
        scores = torch.cat([others[step, :1], row[None], others[step, 1:2]]) if step % 2 else row[None]
        if step % 5 == 0:
            for slot in (0, 4):
                shared.start(slot, seed=step, segment=0, minimum=0, maximum=30)
        token = draw(shared, company, scores)[company.index(3)]
        assert token == draw(alone, [0], row[None])[0]


def test_draws_depend_on_seed_segment_and_step_alone() -> None:
    draws = uniform_draws(1, 0, 50)
    assert torch.equal(draws[:20], uniform_draws(1, 0, 20))
    assert not torch.equal(draws, uniform_draws(2, 0, 50))
    assert not torch.equal(draws, uniform_draws(1, 1, 50))
    assert draws.min() >= 0
    assert draws.max() < 1


def test_tokens_come_as_often_as_they_should() -> None:
    """Frequencies of a nucleus of three, and of the rest when its token has just been spoken."""
    count = 4000
    sampler = sampler_for(count, 2)
    for slot in range(count):
        sampler.start(slot, seed=slot, segment=0, minimum=0, maximum=2)
    logits = torch.full((count, VOCAB), -30.0)
    logits[:, 5:9] = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    tokens = draw(sampler, range(count), logits)
    shares = [(tokens == token).float().mean().item() for token in range(5, 9)]
    assert shares == pytest.approx([4 / 9, 3 / 9, 2 / 9, 0.0], abs=0.03)
    again = draw(sampler, range(count), logits)
    assert not (again == tokens).any()
    assert (again == 8).any()  # outside the nucleus


def test_a_draw_at_the_very_end_takes_the_last_token_left() -> None:
    sampler = sampler_for(1, 2)
    sampler.start(0, seed=0, segment=0, minimum=1, maximum=2)
    sampler._draws.fill_(math.nextafter(1.0, 0.0))
    sampler._state[:, 2:] = 0
    logits = torch.full((1, VOCAB), -math.inf)
    logits[0, :3] = torch.tensor([9.0, 0.0, 0.0])
    assert draw(sampler, [0], logits).item() == 2


def test_limits() -> None:
    assert length_limits(7) == (14, 140)
    with pytest.raises(ValueError, match="room for 2"):
        sampler_for(1, 2).start(0, seed=0, segment=0, minimum=0, maximum=3)
