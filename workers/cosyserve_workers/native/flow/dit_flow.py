"""CosyVoice3's flow: load it, solve a voice once, open streams, and move many of them on in one batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.flow.dit_sizes import DitSizes
from cosyserve_workers.native.flow.dit_solver import DitPiece, DitSolver
from cosyserve_workers.native.flow.dit_state import DitCarry
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    FRAMES_PER_TOKEN,
    LOOKAHEAD_TOKENS,
    MEL_BINS,
)
from cosyserve_workers.native.flow.weights import Weights

FILE_NAME = "flow.pt"


@dataclass(frozen=True, eq=False, repr=False)
class DitVoice:
    """A prompt, solved as far as it does not depend on what follows. Read-only: any number of streams share it."""

    tokens: Tensor
    """int64 [P]."""
    mel: Tensor
    """[2P, 80]: its frames are never given out."""
    speaker: Tensor
    """[80]: the speaker as the estimator hears it."""
    carry: DitCarry
    """At the boundary after the first (P - 3) // 25 chunks."""

    def mel_between(self, start: int, end: int) -> Tensor:
        """The prompt's mel in these frames, zeros after its end: [end - start, 80]."""
        part = self.mel[start:end]
        return functional.pad(part, (0, 0, 0, end - start - len(part)))


@dataclass(eq=False, repr=False)
class DitStream:
    """One text segment being spoken. Made by `DitFlow.open`, moved on by `DitFlow.advance`."""

    voice: DitVoice
    tokens: Tensor = field(init=False)
    """int64: all tokens known, the prompt's included."""
    carry: DitCarry = field(init=False)
    finished: bool = field(init=False, default=False)
    """Whether the last frame has been given out."""

    def __post_init__(self) -> None:
        self.tokens = self.voice.tokens
        self.carry = self.voice.carry

    @property
    def tokens_done(self) -> int:
        """Tokens solved so far, the prompt's included."""
        return len(self.carry.chunks) * CHUNK_TOKENS

    @property
    def chunks_solvable(self) -> int:
        """Whole chunks, from the prompt's start, whose look-ahead is known."""
        return _solvable(len(self.tokens))


class DitStep(NamedTuple):
    """tokens: int64 [n], new; n may be 0. final: the segment ends with them, and its tail is solved as well."""

    stream: DitStream
    tokens: Tensor
    final: bool = False


class DitFlow:
    """CosyVoice3's flow (`CausalMaskedDiffWithDiT`), solved in chunks as one pass with `streaming=True` would be."""

    def __init__(self, weights: Weights, sizes: DitSizes, device: torch.device) -> None:
        self.sizes = sizes
        self.device = device
        self._dtype = weights.dtype
        self._speaker = weights.linear("spk_embed_affine_layer", MEL_BINS, sizes.speaker_width)
        self._solver = DitSolver(weights, sizes, device)

    @classmethod
    @torch.inference_mode()
    def load(cls, model_dir: Path, device: torch.device, dtype: torch.dtype) -> "DitFlow":
        """Load `flow.pt` of a CosyVoice3 model folder.

        Raises LoadError, one line, where the file is missing, truncated or of another network, and for fp16.
        """
        if dtype == torch.float16:
            raise LoadError("the flow of CosyVoice3 overflows in fp16: set model.precision to auto, bf16 or fp32")
        weights = Weights.read(model_dir / FILE_NAME, device, dtype, "CosyVoice3")
        flow = cls(weights, DitSizes.infer(weights), device)
        weights.finish()
        return flow

    @torch.inference_mode()
    def voice_state(self, prompt_tokens: Tensor, prompt_mel: Tensor, speaker_embedding: Tensor) -> DitVoice:
        """Solve as much of a prompt as does not depend on what follows: its first (P - 3) // 25 chunks.

        Args:
            prompt_tokens: int64 [P] at 25 Hz.
            prompt_mel: [2P, 80], log-mel at 50 Hz.
            speaker_embedding: [192], of any norm.
        """
        speaker = functional.normalize(speaker_embedding.to(device=self.device, dtype=torch.float32), dim=0)
        voice = DitVoice(
            tokens=prompt_tokens.to(self.device),
            mel=prompt_mel.to(device=self.device, dtype=self._dtype),
            speaker=self._speaker(speaker.to(self._dtype)),
            carry=DitCarry.empty(self.sizes, self.device, self._dtype),
        )
        end = _solvable(len(prompt_tokens)) * CHUNK_TOKENS
        if end == 0:
            return voice
        ((_, carry),) = self._solver.solve([self._piece(DitStream(voice), end, keep=True)])
        return DitVoice(voice.tokens, voice.mel, voice.speaker, carry)

    def open(self, voice: DitVoice) -> DitStream:
        """Start a stream, one for each text segment. It refers to the voice's state and copies nothing."""
        return DitStream(voice)

    @torch.inference_mode()
    def advance(self, steps: Sequence[DitStep]) -> list[Tensor]:
        """Give streams their new tokens and solve what can be solved, all in one batch.

        Whole chunks are solved once three tokens after them are known; the rest waits. Each stream's frames do not
        depend on who shares the batch.

        Returns:
            For each step the frames that are new, float32 [80, frames], maybe 0 of them, the prompt's left out.
        """
        for step in steps:
            if step.stream.finished:
                raise ValueError("this stream has had its final tokens")
            step.stream.tokens = torch.cat([step.stream.tokens, step.tokens.to(self.device)])
        ends = [_end(step) for step in steps]
        busy = [index for index, step in enumerate(steps) if ends[index] > step.stream.tokens_done]
        pieces = [self._piece(steps[index].stream, ends[index], keep=not steps[index].final) for index in busy]
        solved = dict(zip(busy, self._solver.solve(pieces) if pieces else [], strict=True))
        return [self._settle(step, solved.get(index)) for index, step in enumerate(steps)]

    def _piece(self, stream: DitStream, end: int, *, keep: bool) -> DitPiece:
        """What the stream has to solve from what it carries to token `end`."""
        start = stream.tokens_done
        tokens = stream.tokens[start : end + LOOKAHEAD_TOKENS].clamp(min=0)
        missing = end + LOOKAHEAD_TOKENS - start - len(tokens)
        return DitPiece(
            carry=stream.carry,
            tokens=functional.pad(tokens, (0, missing), value=self._solver.absent),
            speaker=stream.voice.speaker,
            prompt_mel=stream.voice.mel_between(start * FRAMES_PER_TOKEN, end * FRAMES_PER_TOKEN),
            keep=keep,
        )

    def _settle(self, step: DitStep, solved: tuple[Tensor, DitCarry] | None) -> Tensor:
        """Move the stream to the end of what was solved; its new frames."""
        stream = step.stream
        start = len(stream.carry.chunks) * CHUNK_FRAMES
        stream.finished = step.final
        if solved is None:
            return torch.empty((MEL_BINS, 0), device=self.device)
        mel, carry = solved
        stream.carry = stream.voice.carry if step.final else carry
        return mel[max(len(stream.voice.mel) - start, 0) :].t()


def _solvable(tokens: int) -> int:
    """Whole chunks, from the prompt's start, whose look-ahead is known with so many tokens."""
    return max(tokens - LOOKAHEAD_TOKENS, 0) // CHUNK_TOKENS


def _end(step: DitStep) -> int:
    """How many tokens from the prompt's start are solved after this step, unless they were before."""
    known = len(step.stream.tokens)
    heard = known * FRAMES_PER_TOKEN > len(step.stream.voice.mel)
    return known if step.final and heard else step.stream.chunks_solvable * CHUNK_TOKENS
