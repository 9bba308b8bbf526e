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

from cosyserve_workers.native.transfers import pinned

TOP_P = 0.8
TOP_K = 25
WINDOW = 10
TAU_R = 0.1
MIN_RATIO, MAX_RATIO = 2, 20
"""Speech tokens for each token of the text (the segment's own, without prompt text or instruction)."""

_NONE = -1
_SPOKEN = 2
"""Where a stream's last tokens begin in its state."""


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

    slots: how many streams there are; one more, the last, is nobody's, for rows that fill up a batch. max_steps: the
    most tokens of one segment. vocab: how many ids there are. stops: those of them that end the speech.
    """

    def __init__(self, slots: int, max_steps: int, vocab: int, stops: Sequence[int], device: torch.device) -> None:
        self.slots = slots
        self.max_steps = max_steps
        self.device = device
        self._draws = torch.zeros(slots + 1, max_steps, 2, dtype=torch.float64, device=device)
        # Of each stream: its step, its minimum, and the tokens drawn last.
        self._state = torch.full((slots + 1, _SPOKEN + WINDOW), _NONE, dtype=torch.int64, device=device)
        self._state[:, :_SPOKEN] = 0
        self._stops = torch.isin(torch.arange(vocab), torch.tensor(stops)).to(device)
        self._id_bits = (vocab - 1).bit_length()
        self._backwards = torch.arange(vocab - 1, -1, -1, device=device)

    @torch.inference_mode()
    def start(self, slot: int, seed: int, segment: int, minimum: int, maximum: int) -> None:
        """Begin a segment in `slot`. minimum, maximum: its lengths in tokens, as `length_limits` gives them.

        Whoever calls counts the tokens up to `maximum`. Raises ValueError where it is above `max_steps`.
        """
        if maximum > self.max_steps:
            raise ValueError(f"{maximum} steps asked for, there is room for {self.max_steps}")
        state = torch.tensor([0, minimum, *[_NONE] * WINDOW])
        for place, values in (
            (self._draws[slot, :maximum], uniform_draws(seed, segment, maximum)),
            (self._state[slot], state),
        ):
            place.copy_(pinned(values, self.device), non_blocking=True)

    @torch.inference_mode()
    def step(self, slots: Tensor, logits: Tensor) -> Tensor:
        """Draw the next token of the streams in `slots`: [B] int64, [B, vocab] float32 -> [B] int64, on the device.

        Shapes depend on B alone.
        """
        state = self._state.index_select(0, slots)
        steps, minimum, spoken = state[:, 0], state[:, 1:_SPOKEN], state[:, _SPOKEN:]
        draws = self._draws[slots, steps.clamp(max=self.max_steps - 1)]
        scores = logits.masked_fill((steps[:, None] < minimum) & self._stops, -torch.inf)
        tokens = draw_from_nucleus(*self._largest(scores.softmax(dim=-1)), draws[:, :1])
        repeated = (spoken == tokens).sum(dim=1, keepdim=True) >= WINDOW * TAU_R
        again = draw_from_all(scores.scatter_(1, tokens, -torch.inf), draws[:, 1:])
        tokens = torch.where(repeated, again, tokens)
        self._state[slots] = torch.cat([state[:, :1] + 1, minimum, spoken[:, 1:], tokens], dim=1)
        return tokens[:, 0]

    def _largest(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Return the `TOP_K` largest of each row and their ids, equal ones by rising id.

        Scores in half precision are often equal, and `topk` promises no order among equals. So it is given integers
        that are never equal: the bits of a float32, which rise with it from nought on, above the id, counted down.
        """
        keys = torch.add(self._backwards, probabilities.view(torch.int32), alpha=1 << self._id_bits)
        tokens = keys.topk(TOP_K, dim=-1).indices
        return probabilities.gather(1, tokens), tokens


def draw_from_nucleus(probabilities: Tensor, tokens: Tensor, draws: Tensor) -> Tensor:
    """Draw by the nucleus rule: the largest probabilities and their ids, [B, TOP_K], draws [B, 1] -> [B, 1] tokens."""
    summed = probabilities.cumsum(dim=-1, dtype=torch.float64)
    last = (summed[:, :-1] < TOP_P).sum(dim=-1, keepdim=True)
    return tokens.gather(1, _place(summed, summed.gather(1, last), draws))


def draw_from_all(scores: Tensor, draws: Tensor) -> Tensor:
    """Draw by the probabilities themselves: [B, vocab] float32 scores, [B, 1] float64 draws -> [B, 1] int64 tokens."""
    summed = scores.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    return _place(summed, summed[:, -1:], draws)


def _place(summed: Tensor, whole: Tensor, draws: Tensor) -> Tensor:
    """Return the first place in each row of running sums, [B, n], that is above the draw's share of the whole: [B, 1].

    There is one: a draw is a float64 below 1, and so its share is below the whole, however it is rounded.
    """
    # What is no number has no place; an id beyond the last would end the process on a GPU.
    return torch.searchsorted(summed, draws * whole, right=True).clamp_(max=summed.shape[-1] - 1)
