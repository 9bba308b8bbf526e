"""Mel to sound, piece by piece, with the library's vocoder: one object a segment."""

import inspect
import math
from typing import Any, Protocol

import torch
from torch import Tensor

OVERLAP_FRAMES = 8
"""How much is made twice and faded over, as in the library's own loop: 160 ms."""


class Vocoder(Protocol):
    """Turns one segment's mel into sound."""

    def push(self, mel: Tensor, *, last: bool) -> Tensor:
        """[1, 80, n] mel frames that follow those before -> [m] samples that follow those before."""


def vocoder_for(hift: Any) -> Vocoder:
    """Tell the causal vocoder of CosyVoice3 from that of CosyVoice2 by what it asks for, and start a segment."""
    causal = "finalize" in inspect.signature(hift.inference).parameters
    return CausalVocoder(hift) if causal else OverlapVocoder(hift)


class OverlapVocoder:
    """For HiFT, which looks ahead: each piece is held back by its last frames, and these are made again with the next.

    The source (the harmonics' phase) is carried over the border; the fades' weights sum to one, unlike the halves of
    the library's Hamming window, which make a bump of 8 % at every border.
    """

    def __init__(self, hift: Any) -> None:
        self._hift = hift
        self._mel: Tensor | None = None
        self._source = torch.zeros(1, 1, 0)
        self._sound = torch.zeros(0)

    def push(self, mel: Tensor, *, last: bool) -> Tensor:
        """Make the frames held back again, with the new ones after them."""
        mel = mel if self._mel is None else torch.cat([self._mel, mel], dim=2)
        speech, source = self._hift.inference(speech_feat=mel, cache_source=self._source)
        sound = faded(self._sound, speech[0])
        if last:
            return sound
        held = min(OVERLAP_FRAMES, mel.shape[2])
        samples = held * (source.shape[2] // mel.shape[2])
        self._mel, self._source, self._sound = mel[:, :, -held:], source[:, :, -samples:], sound[-samples:]
        return sound[:-samples]


class CausalVocoder:
    """For the causal HiFT of CosyVoice3, which makes the same sound for the same frames whatever follows.

    It keeps no state of its own: it gets all frames each time, and what was heard before is cut off.
    """

    def __init__(self, hift: Any) -> None:
        self._hift = hift
        self._mel: Tensor | None = None
        self._heard = 0

    def push(self, mel: Tensor, *, last: bool) -> Tensor:
        """Run over all frames so far."""
        self._mel = mel if self._mel is None else torch.cat([self._mel, mel], dim=2)
        speech, _ = self._hift.inference(speech_feat=self._mel, finalize=last)
        sound: Tensor = speech[0, self._heard :]
        self._heard += len(sound)
        return sound


def faded(old: Tensor, new: Tensor) -> Tensor:
    """[n] `new`, its beginning faded in over `old`, which is as long as the overlap or empty."""
    overlap = len(old)
    if not overlap:
        return new
    rise = torch.sin(math.pi / 2 * (torch.arange(overlap, device=new.device) + 0.5) / overlap).square()
    return torch.cat([new[:overlap] * rise + old * (1 - rise), new[overlap:]])
