"""The flow's interface: load it, solve a voice once, open streams, and move many of them on in one batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.cuda_graphs import Record
from cosyserve_workers.native.flow.memory import PagePool
from cosyserve_workers.native.flow.parts import AnySizes, is_of_the_other, sizes_of
from cosyserve_workers.native.flow.pieces import Piece
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    FRAMES_PER_TOKEN,
    LOOKAHEAD_TOKENS,
    MEL_BINS,
)
from cosyserve_workers.native.flow.solver import Solver
from cosyserve_workers.native.flow.state import FlowStream, VoiceState
from cosyserve_workers.native.flow.weights import Weights
from cosyserve_workers.native.lanes import Lanes
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model, of_the_other
from cosyserve_workers.native.transfers import send

FILE_NAME = "flow.pt"


@dataclass(frozen=True)
class FlowStep:
    """What `Flow.advance` is to do for one stream."""

    stream: FlowStream
    tokens: Tensor
    """int64 [n]: new speech tokens, below the vocabulary's size; n may be 0."""
    final: bool = False
    """Whether these are the last: the tail is then solved as well, and the stream is finished."""
    keep: bool = True
    """Whether to carry on what is solved now, if there is room. If not, no memory is taken, and the next advance
    computes it again."""


class Flow:
    """A model's flow, solved in chunks as one pass with `streaming=True` would be.

    CosyVoice2's is upstream's `CausalMaskedDiffWithXvec`, CosyVoice3's its `CausalMaskedDiffWithDiT`.

    One thread calls it and the methods of its streams; but after a `reserve`, several may each `advance` streams of
    their own.
    """

    def __init__(
        self, weights: Weights, sizes: AnySizes, device: torch.device, dtype: torch.dtype, lanes: Lanes
    ) -> None:
        self.sizes = sizes
        self.device = device
        self.dtype = dtype
        self.pool = PagePool(sizes.page, device, dtype)
        self.outer = weights.outer().dtype
        """What voices' mel and speaker are in, as `Weights.outer`."""
        self._speaker = weights.outer().linear("spk_embed_affine_layer", MEL_BINS, sizes.speaker_width)
        self.lanes = lanes
        """Where streams, too, may each be advanced on a lane."""
        self._solver = Solver(weights, sizes, device, lanes, self.pool)

    @classmethod
    @torch.inference_mode()
    def load(
        cls,
        model_dir: Path,
        device: torch.device,
        dtype: torch.dtype,
        lanes: Lanes | None = None,
        model: Model = COSYVOICE2,
    ) -> "Flow":
        """Load `flow.pt` of a model folder.

        lanes: where parts of it may be solved side by side; nowhere if None. model: whose folder it is. Raises
        LoadError, one line, where the file is missing, truncated or of another network, and for CosyVoice3 in fp16.
        """
        if model is COSYVOICE3 and dtype == torch.float16:
            raise LoadError("the flow of CosyVoice3 overflows in fp16: set model.precision to auto, bf16 or fp32")
        path = model_dir / FILE_NAME
        weights = Weights.read(path, device, dtype, model.name)
        if is_of_the_other(weights, model):
            raise of_the_other(model, path, "flow")
        flow = cls(weights, sizes_of(weights, model_dir, model), device, dtype, lanes or Lanes(1))
        weights.finish()
        return flow

    @torch.inference_mode()
    def voice_state(
        self, prompt_tokens: Tensor, prompt_mel: Tensor, speaker_embedding: Tensor, most_bytes: int | None = None
    ) -> VoiceState:
        """Solve as much of a prompt as does not depend on what follows: its first (P - 3) // 25 chunks.

        Args:
            prompt_tokens: int64 [P] at 25 Hz.
            prompt_mel: [frames, 80], log-mel at 50 Hz; 2 * P frames.
            speaker_embedding: [192], of any norm.
            most_bytes: memory that its chunks may take. With fewer of them each stream solves the rest itself, to the
                same frames.
        """
        tokens = send(prompt_tokens, self.device)
        speaker = functional.normalize(send(speaker_embedding, self.device).to(self.outer), dim=0)
        voice = VoiceState(
            tokens=tokens,
            mel=send(prompt_mel, self.device).to(self.outer),
            speaker=self._speaker(speaker),
            pages=(),
            state_bytes=tokens.numel() * tokens.element_size() + prompt_mel.numel() * self.outer.itemsize,
        )
        limits = [max(len(tokens) - LOOKAHEAD_TOKENS, 0) // CHUNK_TOKENS]
        if most_bytes is not None:
            limits.append(max(most_bytes, 0) // self.pool.page_bytes)
        if self.pool.room is not None:
            limits.append(self.pool.room)
        chunks = min(limits)
        if chunks == 0:
            return voice
        piece = self._piece(FlowStream(voice, self.pool), chunks * CHUNK_TOKENS, keep=True)
        self._solver.solve([piece])
        return replace(voice, pages=piece.fresh, state_bytes=voice.state_bytes + chunks * self.pool.page_bytes)

    def voice_bytes(self, prompt_tokens: int) -> int:
        """Tell what the pages of a whole `voice_state` take, for a prompt of so many tokens."""
        return max(prompt_tokens - LOOKAHEAD_TOKENS, 0) // CHUNK_TOKENS * self.pool.page_bytes

    def bytes_after(self, stream: FlowStream, tokens: int) -> int:
        """Tell what `stream.state_bytes` would be after an advance with so many new tokens, keeping state."""
        chunks = max(len(stream.tokens) + tokens - LOOKAHEAD_TOKENS, 0) // CHUNK_TOKENS
        return max(chunks - len(stream.voice.pages), 0) * self.pool.page_bytes

    def reserve(self, tokens: int) -> None:
        """Make what is shared ready for streams of so many tokens, their prompts' included."""
        self._solver.reserve(tokens)

    def record(self, record: Record) -> None:
        """Take graphs from now on, on a GPU that has our kernels, once the pool has all its pages."""
        self._solver.record(record)

    def trial(self, streams: int) -> Callable[[], object]:
        """One Euler step of so many streams in a batch, to be timed."""
        return self._solver.trial(streams)

    def open(self, voice: VoiceState) -> FlowStream:
        """Start a stream, one for each text segment. It refers to the voice's state and copies nothing."""
        return FlowStream(voice, self.pool)

    @torch.inference_mode()
    def advance(self, steps: Sequence[FlowStep]) -> list[Tensor]:
        """Give streams their new tokens and solve what can be solved, all in one batch.

        Whole chunks are solved once three tokens after them are known; the rest waits. Streams may be at any position
        and have any number of chunks to solve; each one's frames do not depend on who shares the batch.

        Returns:
            For each step the frames that are new, float32 [80, frames], maybe 0 of them, the prompt's left out.
        """
        if len({id(step.stream) for step in steps}) != len(steps):
            raise ValueError("a stream may be advanced once in a call")
        for step in steps:
            if step.stream.finished:
                raise ValueError("this stream has had its final tokens")
            step.stream.tokens = torch.cat([step.stream.tokens, send(step.tokens, self.device)])
        ends = [self._end(step) for step in steps]
        busy = [index for index, step in enumerate(steps) if ends[index] * FRAMES_PER_TOKEN > step.stream.frames_done]
        pieces = [
            self._piece(steps[index].stream, ends[index], keep=steps[index].keep and not steps[index].final)
            for index in busy
        ]
        mels = self._solver.solve(pieces) if pieces else []
        solved = {index: (piece, mel) for index, piece, mel in zip(busy, pieces, mels, strict=True)}
        return [
            self._settle(step, *solved[index]) if index in solved else self._settle_idle(step)
            for index, step in enumerate(steps)
        ]

    @staticmethod
    def _end(step: FlowStep) -> int:
        """How many tokens from the prompt's start are solved after this step, unless they were before."""
        known = len(step.stream.tokens)
        heard = known * FRAMES_PER_TOKEN > len(step.stream.voice.mel)
        return known if step.final and heard else step.stream.chunks_solvable * CHUNK_TOKENS

    def _piece(self, stream: FlowStream, end: int, *, keep: bool) -> Piece:
        """What the stream has to solve from what it carries to token `end`. keep: if there are pages for it."""
        start = len(stream.pages) * CHUNK_TOKENS
        tokens = stream.tokens[start : end + LOOKAHEAD_TOKENS].clamp(min=0)
        missing = end + LOOKAHEAD_TOKENS - start - len(tokens)
        return Piece(
            past=stream.pages,
            left=stream.pages[-1].chunk.lefts if stream.pages else self.pool.nothing,
            tokens=functional.pad(tokens, (0, missing), value=self._solver.absent),
            speaker=stream.voice.speaker,
            prompt_mel=stream.voice.mel_between(start * FRAMES_PER_TOKEN, end * FRAMES_PER_TOKEN),
            fresh=self.pool.take((end - start) // CHUNK_TOKENS) if keep else (),
        )

    def _settle(self, step: FlowStep, piece: Piece, mel: Tensor) -> Tensor:
        """Move the stream to the end of what was solved; its new frames."""
        stream = step.stream
        start = len(piece.past) * CHUNK_FRAMES
        first = max(stream.frames_done, len(stream.voice.mel)) - start
        stream.frames_done = start + len(mel)
        if step.final:
            stream.drop_state()
            stream.finished = True
        else:
            stream.pages += piece.fresh
        return mel[max(first, 0) :].t()

    def _settle_idle(self, step: FlowStep) -> Tensor:
        """A step with nothing to solve: no frames."""
        if step.final:
            step.stream.drop_state()
            step.stream.finished = True
        return torch.empty((MEL_BINS, 0), device=self.device)
