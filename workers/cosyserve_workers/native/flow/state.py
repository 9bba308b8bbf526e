"""What callers hold: a voice's state, shared and read-only, and a stream's own, which continues from it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cosyserve_workers.native.flow.memory import Page, PagePool
from cosyserve_workers.native.flow.sizes import (
    CHUNK_FRAMES,
    CHUNK_TOKENS,
    FRAMES_PER_TOKEN,
    LOOKAHEAD_TOKENS,
    MEL_BINS,
)


@dataclass(frozen=True, eq=False, repr=False)
class VoiceState:
    """A prompt, solved as far as it does not depend on what follows. Read-only: any number of streams share it."""

    tokens: Tensor
    """int64 [P]: the prompt's speech tokens."""
    mel: Tensor
    """[frames, 80]: the prompt's mel; its frames are never given out."""
    speaker: Tensor
    """[80]: the speaker as the estimator hears it."""
    pages: tuple[Page, ...]
    """Of the first (P - 3) // 25 chunks, or fewer. They are free again when nobody refers to any of these."""
    state_bytes: int
    """Memory it holds."""

    def mel_between(self, start: int, end: int) -> Tensor:
        """The prompt's mel in these frames, zeros after its end: [end - start, 80]."""
        part = self.mel[start:end]
        return torch.cat([part, part.new_zeros(end - start - len(part), MEL_BINS)])


@dataclass(eq=False, repr=False)
class FlowStream:
    """One text segment being spoken. Made by `Flow.open`, moved on by `Flow.advance`."""

    voice: VoiceState
    pool: PagePool
    tokens: Tensor = field(init=False)
    """int64: all tokens known, the prompt's included."""
    pages: tuple[Page, ...] = field(init=False)
    """From whose end the next solve continues: at `frames_done`, or before it where state was given up."""
    frames_done: int = field(init=False)
    """Frames solved so far, the prompt's included."""
    finished: bool = field(init=False, default=False)
    """Whether the last frame has been given out."""

    def __post_init__(self) -> None:
        self.tokens = self.voice.tokens
        self.pages = self.voice.pages
        self.frames_done = len(self.pages) * CHUNK_FRAMES

    @property
    def chunks_solvable(self) -> int:
        """Whole chunks, from the prompt's start, whose look-ahead is known."""
        return max(len(self.tokens) - LOOKAHEAD_TOKENS, 0) // CHUNK_TOKENS

    @property
    def frames_ready(self) -> int:
        """Mel frames that `Flow.advance` would give out with no new token."""
        return self._heard_until(self.chunks_solvable) - self._heard_until(self.frames_done // CHUNK_FRAMES)

    def tokens_needed(self, at_least: int = 1) -> int:
        """How many more tokens until `Flow.advance` gives out that many tokens' worth of sound, or more; 0 if now.

        With `at_least=10` a first chunk under 10 tokens waits to be joined to the next. The three tokens of look-ahead
        are counted in; at the text's end nothing is needed but `final=True`.
        """
        given_out = max(self.frames_done, len(self.voice.mel))
        chunks = -(-(given_out + at_least * FRAMES_PER_TOKEN) // CHUNK_FRAMES)
        return max(chunks * CHUNK_TOKENS + LOOKAHEAD_TOKENS - len(self.tokens), 0)

    @property
    def state_bytes(self) -> int:
        """Memory of its own: nothing of the voice's is counted."""
        return (len(self.pages) - len(self.voice.pages)) * self.pool.page_bytes

    def drop_state(self) -> None:
        """Give up what it carries. The next advance computes it again, from the voice's boundary, to the same frames.

        Also to be called when a stream is abandoned before its end: its memory is then used again.
        """
        self.pages = self.voice.pages

    def _heard_until(self, chunks: int) -> int:
        """Frames after the prompt's in that many chunks."""
        return max(chunks * CHUNK_FRAMES - len(self.voice.mel), 0)
