"""What a solve is given of each sequence."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional

from cosyserve_workers.native.flow.memory import KeysValues, Lefts, Page
from cosyserve_workers.native.flow.sizes import CHUNK_FRAMES, CHUNK_TOKENS, FRAMES_PER_TOKEN, LOOKAHEAD_TOKENS


@dataclass(frozen=True)
class Piece:
    """What one sequence solves: whole chunks, or at its end what is left, continued from a chunk's boundary."""

    past: tuple[Page, ...]
    """What it continues from, a page for each chunk behind."""
    left: Lefts
    """At the end of those."""
    tokens: Tensor
    """int64 [length + 3]: the three after the piece included, `absent` where there are none."""
    speaker: Tensor
    """[80]."""
    prompt_mel: Tensor
    """[frames, 80]: the voice's mel, zeros after its end."""
    fresh: tuple[Page, ...]
    """Pages to fill, one for each chunk; none if nothing will be carried on."""
    before: int = 0
    """Chunks of its sequence that come before it in the same solve, as pieces of their own."""
    padding: int = 0
    """Tokens at its end that are none."""

    @property
    def length(self) -> int:
        """In tokens."""
        return self.tokens.shape[0] - LOOKAHEAD_TOKENS

    @property
    def chunks_before(self) -> int:
        """Where it starts."""
        return len(self.past) + self.before

    def keys_values(self, part: Callable[[Page], Tensor]) -> KeysValues:
        """Some layers' of its pages."""
        return KeysValues([part(page) for page in self.past], [part(page) for page in self.fresh])

    def step(self, step: int) -> KeysValues:
        """The estimator's at an Euler step."""
        return self.keys_values(lambda page: page.chunk.estimator[step])

    def leave(self, left: Lefts) -> None:
        """Put down what who continues looks back to."""
        for place, tensor in zip(self.fresh[-1].chunk.lefts, left, strict=True):
            place.copy_(tensor)

    def chunk_by_chunk(self, absent: int) -> list["Piece"]:
        """The same in pieces of a chunk, the last one padded. absent: the token that is none."""
        padding = -self.length % CHUNK_TOKENS
        tokens = functional.pad(self.tokens, (0, padding), value=absent)
        mel = functional.pad(self.prompt_mel, (0, 0, 0, padding * FRAMES_PER_TOKEN))
        count = (self.length + padding) // CHUNK_TOKENS
        return [
            replace(
                self,
                tokens=tokens[index * CHUNK_TOKENS : (index + 1) * CHUNK_TOKENS + LOOKAHEAD_TOKENS],
                prompt_mel=mel[index * CHUNK_FRAMES : (index + 1) * CHUNK_FRAMES],
                fresh=self.fresh[index : index + 1],
                before=index,
                padding=padding if index == count - 1 else 0,
            )
            for index in range(count)
        ]
