"""CosyVoice2's language model: text and a voice's tokens in, scores of the next speech token out, many streams at once.

Qwen2's decoder (Yang et al. 2024, arXiv:2407.10671) between a speech embedding and a speech head (upstream: `Qwen2LM`),
for inference alone. One thread at a time may use a model.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, silu

from cosyserve_workers.native.cuda_graphs import CudaRecorder
from cosyserve_workers.native.lm.attention import KeysAndValues, KeyValueCache, Piece, PieceAttention, StepAttention
from cosyserve_workers.native.lm.graphs import DecodeGraphs
from cosyserve_workers.native.lm.weights import Layer, Sizes, Weights, load_weights

_SOS, _TASK = 0, 1
_SPAN_STEP = 64
"""A decode step looks at so many positions, or twice, or three times as many...: few shapes, little waste."""


class LanguageModel:
    """The network with room for `slots` streams of up to `max_tokens` positions each.

    A stream takes a slot with its first `prefill`, goes on with `decode`, and gives it back with `release`. Streams
    come and go at any step; what one is given does not depend on the others, up to rounding.

    sizes: numbers of the network. lengths: positions taken in each slot.
    """

    def __init__(self, weights: Weights, slots: int, max_tokens: int) -> None:
        self.sizes: Sizes = weights.sizes
        self.device: torch.device = weights.norm.device
        self.dtype: torch.dtype = weights.speech.dtype
        self.slots = slots
        self.max_tokens = max_tokens
        self.lengths = [0] * slots
        self._weights = weights
        self._cache = KeyValueCache(
            (self.sizes.layers, slots, self.sizes.kv_heads, max_tokens, self.sizes.head_dim), self.device, self.dtype
        )
        self._graphs = DecodeGraphs(self, CudaRecorder()) if self.device.type == "cuda" else None
        self._cos, self._sin = _rotary_tables(self.sizes, max_tokens, self.device, self.dtype)

    @classmethod
    def load(
        cls, model_dir: Path, device: torch.device, dtype: torch.dtype, slots: int, max_tokens: int
    ) -> "LanguageModel":
        """Read the model from an official CosyVoice2 folder. Raises LoadError."""
        return cls(load_weights(model_dir, device, dtype), slots, max_tokens)

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
        in the others. Returns [n + m + k + 2, hidden].
        """
        start = self._weights.start
        words = self._weights.text[torch.cat([prompt_text, text]).to(self.device, torch.int64)]
        return torch.cat([start[_SOS, None], words, start[_TASK, None], self.embed_speech(prompt_speech)])

    @torch.inference_mode()
    def embed_speech(self, tokens: Tensor) -> Tensor:
        """Return the input for speech tokens: [k] ids -> [k, hidden]."""
        return self._weights.speech[tokens.to(self.device, torch.int64)]

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
        pieces = [Piece(slot, self.lengths[slot], len(rows)) for slot, rows in zip(slots, inputs, strict=True)]
        for piece in pieces:
            self._make_room(piece.slot, piece.count)
        starts = [torch.arange(piece.start, piece.start + piece.count, device=self.device) for piece in pieces]
        last = torch.tensor([piece.count for piece in pieces]).cumsum(0) - 1
        attention = PieceAttention(self._cache, pieces)
        return self._logits(self._run(torch.cat(list(inputs)), torch.cat(starts), attention, last.to(self.device)))

    @torch.inference_mode()
    def decode(self, slots: Sequence[int], tokens: Tensor) -> Tensor:
        """Append one speech token to each of the streams in `slots`.

        tokens: [B] int64, on the model's device. Returns [B, vocab] float32 logits of the next token, before any
        softmax: upstream hands its sampler their log-softmax, which differs by a constant that no sampler sees.
        Raises ValueError where a slot has no room.
        """
        positions = [min(length, self.max_tokens - 1) for length in self.lengths]
        for slot in slots:
            self._make_room(slot, 1)
        longest = max(self.lengths[slot] for slot in slots)
        span = min(self.max_tokens, -(-longest // _SPAN_STEP) * _SPAN_STEP)
        if self._graphs is not None:
            return self._graphs.decode(slots, tokens, positions, span)
        every = list(slots) == list(range(self.slots))
        index = None if every else torch.tensor(slots).to(self.device, non_blocking=True)
        own = torch.tensor([positions[slot] for slot in slots])
        return self.step(index, tokens, own.to(self.device, non_blocking=True), span)

    def step(self, slots: Tensor | None, tokens: Tensor, positions: Tensor, span: int) -> Tensor:
        """Run one decode step without book-keeping: the part that a CUDA graph can hold.

        Shapes depend on B and `span` alone; no value reaches the host. slots: [B] int64, or None for all in order;
        tokens, positions: [B] int64; span: how far attention looks, more than any position. Returns as `decode`.
        """
        attention = StepAttention(self._cache, slots, positions, span)
        return self._logits(self._run(self._weights.speech[tokens], positions, attention))

    def release(self, slot: int) -> None:
        """Give a slot back; the next stream in it starts from nothing."""
        self.lengths[slot] = 0

    def _make_room(self, slot: int, count: int) -> None:
        taken = self.lengths[slot] + count
        if taken > self.max_tokens:
            raise ValueError(f"slot {slot} has room for {self.max_tokens} positions, {taken} are needed")
        self.lengths[slot] = taken

    def _run(
        self,
        x: Tensor,
        positions: Tensor,
        attention: StepAttention | PieceAttention,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Run the decoder's layers: [N, hidden] at `positions` [N] -> [N, hidden], not yet normalised.

        wanted: [n] int64, which of them to return, all if None.
        """
        cos, sin = self._cos[positions], self._sin[positions]
        last = len(self._weights.layers) - 1
        for index, layer in enumerate(self._weights.layers):
            query, key, value = self._project(layer, x, cos, sin)
            heard = attention(index, query, key, value)
            if index == last and wanted is not None:
                # Nobody attends to what the rest becomes from here on.
                x, heard = x[wanted], heard[wanted]
            x = x + layer.out(heard)
            gate, up = layer.gate_up(self._norm(x, layer.mlp_norm)).chunk(2, dim=-1)
            x = x + layer.down(silu(gate) * up)
        return x

    def _project(self, layer: Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries [N, heads, d], rotated keys and plain values [N, kv_heads, d]."""
        sizes = self.sizes
        heads = layer.qkv(self._norm(x, layer.attention_norm)).view(len(x), -1, sizes.head_dim)
        turned = heads[:, : sizes.heads + sizes.kv_heads]
        # RoPE as Qwen2 has it, (a, b) -> (a cos - b sin, b cos + a sin) of the halves a, b; `sin` carries the signs.
        turned = torch.addcmul(turned * cos, turned.roll(sizes.head_dim // 2, dims=-1), sin)
        return turned[:, : sizes.heads], turned[:, sizes.heads :], heads[:, sizes.heads + sizes.kv_heads :]

    def _norm(self, x: Tensor, scale: Tensor) -> Tensor:
        return rms_norm(x, (self.sizes.hidden,), scale, self.sizes.eps)

    def _logits(self, x: Tensor) -> Tensor:
        norm = self._weights.norm
        return self._weights.head(self._norm(x.to(norm.dtype), norm)).float()


def _rotary_tables(sizes: Sizes, max_tokens: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cosines and signed sines of the rotary angles, [max_tokens, 1, head_dim] each; computed in float32."""
    exponents = torch.arange(0, sizes.head_dim, 2, dtype=torch.float32) / sizes.head_dim
    angles = torch.arange(max_tokens, dtype=torch.float32)[:, None] / sizes.rope_theta**exponents
    cos = torch.cat([angles.cos(), angles.cos()], dim=-1)
    sin = torch.cat([-angles.sin(), angles.sin()], dim=-1)
    return cos[:, None].to(device, dtype), sin[:, None].to(device, dtype)
