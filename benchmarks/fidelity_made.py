"""What one side of `benchmarks.fidelity` made of what it was given, as it crosses from process to process."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cosyserve_workers.native.features.voice import VoiceFeatures
from cosyserve_workers.native.utterances import Segment


@dataclass(frozen=True)
class Made:
    """What one side's stages made, all on the CPU.

    said: [n] int64, the tokens that were forced. before: ids that the model wants to read before all else. ids: of each
    text's segments. scores: [n, vocab], log-probabilities of
    each next token. mel: [80, frames]. pitch: [frames] Hz. source: [480 frames], from that pitch. sound: as long.
    """

    voice: VoiceFeatures
    said: Tensor
    before: list[int]
    ids: list[list[list[int]]]
    scores: Tensor
    mel: Tensor
    pitch: Tensor
    source: Tensor
    sound: Tensor

    def segment(self) -> Segment:
        """What the language model reads: the recording's words, to be said once more."""
        words = self.ids[0][0]
        return Segment([*self.before, *words], words, self.voice.speech_tokens.tolist())

    def save(self, path: Path) -> None:
        """Write it, to be read by `load`."""
        torch.save({**vars(self), "voice": vars(self.voice)}, path)

    @classmethod
    def load(cls, path: Path) -> "Made":
        """Read what `save` wrote."""
        state = torch.load(path, weights_only=True)
        return cls(**{**state, "voice": VoiceFeatures(**state["voice"])})
