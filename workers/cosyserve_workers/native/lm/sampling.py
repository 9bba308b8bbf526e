"""Repetition-aware sampling for many streams at once, each with draws of its own.

The definition is, but for the first step, upstream's newest (`Qwen2LM.inference_wrapper`, `sampling_ids`,
`ras_sampling`, `nucleus_sampling`; after VALL-E 2, Chen et al. 2024, arXiv:2406.05370). At step i of a stream:

1. The scores of the next token are masked at all ids that end the speech, CosyVoice2's from 6561 on, while i is below
   the minimum length. (Upstream masks 6561 alone, and speech may end sooner by the two ids after it.)
2. Nucleus: of the probabilities, sorted from the largest, ties by the smaller id, those are kept before which less
   than `TOP_P` has been summed, at most `TOP_K` of them. A token is drawn among them by their probabilities.
3. Where that token is among the last `WINDOW` tokens at least `WINDOW * TAU_R` times (at 10 * 0.1: once), it is masked
   and a token is drawn from all that are left by their probabilities.
4. One of the ids that end the speech does so; any other is spoken, and after the maximum length the speech ends too.

A draw is the inverse of the summed probabilities at a uniform number u: the first token up to which more than u times
the whole has been summed. Each step takes two numbers from its stream, for 2 and for 3, whether or not 3 comes to pass.
They depend on seed, segment and step alone: a seed gives the same tokens whoever else shares the batch.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

TOP_P = 0.8
TOP_K = 25
WINDOW = 10
TAU_R = 0.1
MIN_RATIO, MAX_RATIO = 2, 20
"""Speech tokens for each token of the text (the segment's own, without prompt text or instruction)."""

_NONE = -1


def length_limits(text_tokens: int) -> tuple[int, int]:
    """Return the fewest and the most speech tokens for a segment of so many text tokens."""
    return text_tokens * MIN_RATIO, text_tokens * MAX_RATIO


def uniform_draws(seed: int, segment: int, steps: int) -> Tensor:
    """Return the numbers of a stream in [0, 1): [steps, 2] float64, for the nucleus and for drawing again.

    From Philox (Salmon et al. 2011), keyed by seed and segment; asking for more steps does not change the first ones.
    """
    bits = np.random.Philox(np.random.SeedSequence((seed, segment)))
    return torch.from_numpy(np.random.Generator(bits).random((steps, 2)))


class Sampler:
    """Draws a token for each stream of a batch. All state lies on `device`; nothing here waits for it.

    slots: how many streams there are. max_steps: the most tokens of one segment. vocab: how many ids there are.
    stops: those of them that end the speech.
    """

    def __init__(self, slots: int, max_steps: int, vocab: int, stops: Sequence[int], device: torch.device) -> None:
        self.max_steps = max_steps
        self._device = device
        self._draws = torch.zeros(slots, max_steps, 2, dtype=torch.float64, device=device)
        self._steps = torch.zeros(slots, dtype=torch.int64, device=device)
        self._minimum = torch.zeros(slots, dtype=torch.int64, device=device)
        self._spoken = torch.full((slots, WINDOW), _NONE, dtype=torch.int64, device=device)
        self._stops = torch.isin(torch.arange(vocab), torch.tensor(stops)).to(device)

    @torch.inference_mode()
    def start(self, slot: int, seed: int, segment: int, minimum: int, maximum: int) -> None:
        """Begin a segment in `slot`. minimum, maximum: its lengths in tokens, as `length_limits` gives them.

        Whoever calls counts the tokens up to `maximum`. Raises ValueError where it is above `max_steps`.
        """
        if maximum > self.max_steps:
            raise ValueError(f"{maximum} steps asked for, there is room for {self.max_steps}")
        self._draws[slot, :maximum] = uniform_draws(seed, segment, maximum).to(self._device, non_blocking=True)
        self._steps[slot] = 0
        self._minimum[slot] = minimum
        self._spoken[slot] = _NONE

    def sample(self, slots: Sequence[int], logits: Tensor) -> Tensor:
        """Draw the next token of the streams in `slots`: [B, vocab] float32 logits -> [B] int64, on the device."""
        return self.step(torch.tensor(slots).to(self._device, non_blocking=True), logits)

    @torch.inference_mode()
    def step(self, slots: Tensor, logits: Tensor) -> Tensor:
        """Do what `sample` does for slots, [B] int64, that are on the device already: shapes depend on B alone."""
        steps = self._steps[slots]
        draws = self._draws[slots, steps.clamp(max=self.max_steps - 1)]
        spoken = self._spoken[slots]
        early = steps < self._minimum[slots]
        scores = logits.float().masked_fill(early[:, None] & self._stops, -torch.inf)
        tokens = draw_from_nucleus(scores, draws[:, 0])
        repeated = (spoken == tokens[:, None]).sum(dim=1) >= WINDOW * TAU_R
        again = draw_from_all(mask_tokens(scores, tokens, where=repeated), draws[:, 1])
        tokens = torch.where(repeated, again, tokens)
        self._spoken[slots, steps % WINDOW] = tokens
        self._steps[slots] = steps + 1
        return tokens


def mask_tokens(scores: Tensor, tokens: Tensor, where: Tensor) -> Tensor:
    """Return [B, vocab] scores with minus infinity at each row's token, [B] int64, in the rows `where`, [B] bool."""
    value = torch.where(where, -torch.inf, scores.gather(1, tokens[:, None])[:, 0])
    return scores.scatter(1, tokens[:, None], value[:, None])


def draw_from_nucleus(scores: Tensor, draws: Tensor) -> Tensor:
    """Draw by the nucleus rule: [B, vocab] float32 scores, [B] float64 draws in [0, 1) -> [B] int64 tokens."""
    probabilities, tokens = _largest(scores.softmax(dim=-1))
    mass = probabilities.double()
    before = pad(mass.cumsum(dim=-1)[:, :-1], (1, 0))
    kept = mass.where(before < TOP_P, 0.0)
    return tokens.gather(1, _invert(kept.cumsum(dim=-1), draws)[:, None])[:, 0]


def draw_from_all(scores: Tensor, draws: Tensor) -> Tensor:
    """Draw by the probabilities themselves: [B, vocab] float32 scores, [B] float64 draws -> [B] int64 tokens."""
    return _invert(scores.softmax(dim=-1).double().cumsum(dim=-1), draws)


def _largest(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return the `TOP_K` largest of each row and their ids, equal ones by rising id.

    Scores in half precision are often equal, and `topk` promises no order among equals. So it is given integers that
    are never equal: the bits of a float32, which rise with it from nought on, above those of the id, counted down.
    """
    vocab = probabilities.shape[-1]
    bits = vocab.bit_length()
    backwards = torch.arange(vocab - 1, -1, -1, device=probabilities.device)
    keys = (probabilities.view(torch.int32).to(torch.int64) << bits) + backwards
    tokens = vocab - 1 - (keys.topk(TOP_K, dim=-1).values & ((1 << bits) - 1))
    return probabilities.gather(1, tokens), tokens


def _invert(summed: Tensor, draws: Tensor) -> Tensor:
    """Return the first place in each row of running sums, [B, n], that is above the draw's share of the last: [B]."""
    targets = draws[:, None] * summed[:, -1:]
    places = torch.searchsorted(summed, targets, right=True)[:, 0]
    # The product may round up to the whole: the last place that adds anything is then the answer.
    last = torch.searchsorted(summed, summed[:, -1:].contiguous(), right=False)[:, 0]
    return torch.minimum(places, last).clamp(max=summed.shape[-1] - 1)
