"""No speech ends before it has twice as many tokens as its text, whichever token would end it."""

from typing import Any

import torch
from torch import Tensor


def keep_least_length(llm: Any) -> None:
    """Have the library's language model mask all tokens that end speech for as long as it would mask one.

    It would mask `speech_token_size`, which in CosyVoice3 is not the one that ends speech: that may be drawn first of
    all, and nothing is said. Older generations draw that one token anew a hundred times, and then raise.
    """
    sample = llm.sampling_ids

    def sampling_ids(scores: Tensor, drawn: list[Any], sampling: int, ignore_eos: bool = True) -> Any:
        """scores: [vocabulary]. ignore_eos: whether the speech has not got its least length yet."""
        if ignore_eos:
            first = llm.speech_token_size
            scores = torch.cat([scores[:first], torch.full_like(scores[first:], -torch.inf)])
        return sample(scores, drawn, sampling, ignore_eos)

    llm.sampling_ids = sampling_ids
