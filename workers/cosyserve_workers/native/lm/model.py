"""The language model: text and a voice's tokens in, scores of the next speech token out, many streams at once.

Qwen2's decoder (Yang et al. 2024, arXiv:2407.10671) between a speech embedding and a speech head (upstream: `Qwen2LM`),
for inference alone. One thread at a time may use a model.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, silu

from cosyserve_workers.native.kernels.cards import has_kernels
from cosyserve_workers.native.lm.attention import (
    Attention,
    KeysAndValues,
    KeyValueCache,
    Piece,
    PieceAttention,
    RowAttention,
    Turns,
)
from cosyserve_workers.native.lm.weights import Sizes, Weights, load_weights
from cosyserve_workers.native.models import COSYVOICE2, ModelFolder
from cosyserve_workers.native.transfers import send

_SOS, _TASK = 0, 1
_SPAN_STEP = 64
"""A decode step looks at so many positions, or twice, or three times as many...: few shapes, little waste."""


class LanguageModel:
    """The network with room for `slots` streams of up to `max_tokens` positions each.

    A stream takes a slot with its first `prefill`, goes on with `decode`, and gives it back with `release`. Streams
    come and go at any step; what one is given does not depend on the others, up to rounding.

    sizes: numbers of the network. lengths: positions taken in each slot. scratch: a slot that is nobody's, for rows
    that fill up a batch.
    """

    def __init__(self, weights: Weights, slots: int, max_tokens: int) -> None:
        self.sizes: Sizes = weights.sizes
        self.device: torch.device = weights.norm.device
        self.dtype: torch.dtype = weights.speech.dtype
        self.slots = self.scratch = slots
        self.max_tokens = max_tokens
        self.lengths = [0] * slots
        self._weights = weights
        self._cache = KeyValueCache(
            (self.sizes.layers, slots + 1, self.sizes.kv_heads, max_tokens, self.sizes.head_dim),
            self.device,
            self.dtype,
        )
        self._kernels = has_kernels(self.device) and rows_triton().fits(self.sizes.head_dim)
        self._gate = rows_triton().gate if self._kernels else _gate
        self._cos, self._sin = _rotary_tables(self.sizes, max_tokens, self.device, self.dtype)

    @classmethod
    def load(
        cls, model_dir: Path, device: torch.device, dtype: torch.dtype, slots: int, max_tokens: int
    ) -> "LanguageModel":
        """Read the model from an official CosyVoice2 folder. Raises LoadError."""
        return cls(load_weights(ModelFolder(model_dir, COSYVOICE2), device, dtype), slots, max_tokens)

    @property
    def stops(self) -> range:
        """The ids that are no sound, and end the speech."""
        return self.sizes.stops

    @property
    def remembers_bytes(self) -> int:
        """Memory for what all its streams may come to remember."""
        return self._cache.keys.nbytes + self._cache.values.nbytes

    @torch.inference_mode()
    def embed(self, prompt_text: Tensor, text: Tensor, prompt_speech: Tensor) -> Tensor:
        """Return the input that a stream begins with: sos, prompt text, text, task id, prompt speech.

        prompt_text: [n] ids of the prompt's transcript in the mode zero_shot, of the instruction in instruct2, none in
        cross_lingual. text: [m] ids of the segment. prompt_speech: [k] speech tokens of the prompt in zero_shot, none
        in the others. All on the host. Returns [n + m + k + 2, hidden].
        """
        words = len(prompt_text) + len(text)
        ids = send(torch.cat([prompt_text, text, prompt_speech]).to(torch.int64), self.device)
        start, text_table = self._weights.start, self._weights.text
        return torch.cat(
            [start[_SOS, None], text_table[ids[:words]], start[_TASK, None], self.embed_speech(ids[words:])]
        )

    @torch.inference_mode()
    def embed_speech(self, tokens: Tensor) -> Tensor:
        """Return the input for speech tokens: [k] int64 on the model's device -> [k, hidden]."""
        return self._weights.speech[tokens]

    @torch.inference_mode()
    def begin(self, slot: int, opening: KeysAndValues) -> None:
        """Have the stream that takes `slot` begin as another did: with what `remembered` told of that one."""
        self._cache.put_first(slot, opening)
        self.lengths[slot] = opening.positions

    @torch.inference_mode()
    def remembered(self, slot: int, count: int) -> KeysAndValues:
        """Copy what there is of the first `count` positions of a stream."""
        return self._cache.first(slot, count)

    @torch.inference_mode()
    def prefill(self, slots: Sequence[int], inputs: Sequence[Tensor]) -> Tensor:
        """Append `inputs`, each [T, hidden] with its own T, to the streams in `slots`.

        They go through the network as one batch. A long input may come in pieces, one call each: the streams being
        decoded then wait for a piece only, or join the call, each with the embedding of its last token.

        Returns logits, as `decode` does, of the token after each input. Those after a piece that is not the last mean
        nothing. Raises ValueError where a slot has no room.
        """
        pieces = self.take(slots, [len(rows) for rows in inputs])
        positions = torch.cat([torch.arange(piece.start, piece.end) for piece in pieces])
        last = torch.tensor([piece.count for piece in pieces]).cumsum(0) - 1
        attention = PieceAttention(self._cache, self._turns(send(positions, self.device)), pieces)
        return self.run(torch.cat(list(inputs)), attention, send(last, self.device))

    @torch.inference_mode()
    def decode(self, slots: Sequence[int], tokens: Tensor) -> Tensor:
        """Append one speech token to each of the streams in `slots`.

        tokens: [B] int64, on the model's device. Returns [B, vocab] float32 logits of the next token, before any
        softmax: upstream hands its sampler their log-softmax, which differs by a constant that no sampler sees.
        Raises ValueError where a slot has no room.
        """
        pieces = self.take(slots, [1] * len(slots))
        span = min(self.max_tokens, -(-max(piece.end for piece in pieces) // _SPAN_STEP) * _SPAN_STEP)
        first = not self._kernels and list(slots) == list(range(len(slots)))
        places = send(torch.tensor([[piece.slot, piece.start] for piece in pieces]).t().contiguous(), self.device)
        attention = self.attention(None if first else places[0], places[1], span)
        return self.run(self.embed_speech(tokens), attention)

    def take(self, slots: Sequence[int], counts: Sequence[int]) -> list[Piece]:
        """Take so many positions in each slot. Raises ValueError where one has no room: none is taken then."""
        pieces = [Piece(slot, self.lengths[slot], count) for slot, count in zip(slots, counts, strict=True)]
        for piece in pieces:
            if piece.end > self.max_tokens:
                raise ValueError(f"slot {piece.slot} has room for {self.max_tokens} positions, {piece.end} are needed")
        for piece in pieces:
            self.lengths[piece.slot] = piece.end
        return pieces

    def release(self, slot: int) -> None:
        """Give a slot back; the next stream in it starts from nothing."""
        self.lengths[slot] = 0

    def attention(self, slots: Tensor | None, positions: Tensor, span: int | None = None) -> Attention:
        """For rows anywhere, as `RowAttention`. span: all positions if None: shapes then depend on N alone."""
        if self._kernels and slots is not None:
            cache, tables = (self._cache.keys, self._cache.values), (self._cos, self._sin)
            return rows_triton().RowAttention(cache, tables, slots, positions, self.sizes.heads)
        return RowAttention(self._cache, self._turns(positions), slots, positions, span or self.max_tokens)

    def run(self, x: Tensor, attention: Attention, wanted: Tensor | None = None) -> Tensor:
        """Run the network without book-keeping: [N, hidden] -> [N, vocab] float32 logits.

        Nothing waits for the device. wanted: [n] int64, which rows to return, all if None.
        """
        last = len(self._weights.layers) - 1
        for index, layer in enumerate(self._weights.layers):
            heard = attention(index, layer.qkv(self._norm(x, layer.attention_norm)))
            if index == last and wanted is not None:
                # Nobody attends to what the rest becomes from here on.
                x, heard = x[wanted], heard[wanted]
            x = layer.out.added(heard, x)
            x = layer.down.added(self._gate(layer.gate_up(self._norm(x, layer.mlp_norm))), x)
        norm = self._weights.norm
        return self._weights.head(self._norm(x.to(norm.dtype), norm)).float()

    def _turns(self, positions: Tensor) -> Turns:
        return Turns(self._cos[positions], self._sin[positions], self.sizes.heads, self.sizes.kv_heads)

    def _norm(self, x: Tensor, scale: Tensor) -> Tensor:
        return rms_norm(x, (self.sizes.hidden,), scale, self.sizes.eps)


def rows_triton() -> Any:
    """The kernels' module: without Triton it cannot be imported."""
    return import_module("cosyserve_workers.native.kernels.rows_triton")


def _gate(gate_up: Tensor) -> Tensor:
    """As `rows_triton.gate`."""
    gate, up = gate_up.chunk(2, dim=-1)
    return silu(gate) * up


def _rotary_tables(sizes: Sizes, max_tokens: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosines and signed sines of the rotary angles, [max_tokens, 1, head_dim] each; computed in float32."""
    exponents = torch.arange(0, sizes.head_dim, 2, dtype=torch.float32) / sizes.head_dim
    angles = torch.arange(max_tokens, dtype=torch.float32)[:, None] / sizes.rope_theta**exponents
    cos = torch.cat([angles.cos(), angles.cos()], dim=-1)
    sin = torch.cat([-angles.sin(), angles.sin()], dim=-1)
    return cos[:, None].to(device, dtype), sin[:, None].to(device, dtype)
