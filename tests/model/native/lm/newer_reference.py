"""CosyVoice3's language model written down plainly: float64, one pass over all tokens. What ours is held against."""

import json
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

SOS, TASK = 6561, 6563
BACKBONE = "llm.model.model"


class LanguageReference:
    """folder: of the model."""

    def __init__(self, folder: Path) -> None:
        state = torch.load(folder / "llm.pt", weights_only=True)
        self._state = {name: tensor.double() for name, tensor in state.items()}
        config = json.loads((folder / "CosyVoice-BlankEN" / "config.json").read_text("utf-8"))
        self._heads, self._kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self._layers, self._theta = config["num_hidden_layers"], config["rope_theta"]
        self._eps = config["rms_norm_eps"]

    def scores(self, words: Tensor, prompt: Tensor, tokens: Tensor) -> Tensor:
        """Log-probabilities before each of `tokens`, [n, vocabulary]: ids of all words, the prompt's speech tokens."""
        speech = self._state["speech_embedding.weight"]
        text = self._state[f"{BACKBONE}.embed_tokens.weight"]
        said = torch.cat([prompt, tokens[:-1]])
        x = torch.cat([speech[[SOS]], text[words], speech[[TASK]], speech[said]])
        for layer in range(self._layers):
            x = self._layer(f"{BACKBONE}.layers.{layer}", x)
        x = self._norm(f"{BACKBONE}.norm", x[-len(tokens) :])
        return functional.linear(x, self._state["llm_decoder.weight"]).log_softmax(dim=-1)

    def _layer(self, name: str, x: Tensor) -> Tensor:
        x = x + self._attention(f"{name}.self_attn", self._norm(f"{name}.input_layernorm", x))
        y = self._norm(f"{name}.post_attention_layernorm", x)
        gate, up = (self._linear(f"{name}.mlp.{which}_proj", y) for which in ("gate", "up"))
        return x + self._linear(f"{name}.mlp.down_proj", functional.silu(gate) * up)

    def _attention(self, name: str, x: Tensor) -> Tensor:
        queries = self._turned(self._linear(f"{name}.q_proj", x).unflatten(1, (self._heads, -1)))
        keys = self._turned(self._linear(f"{name}.k_proj", x).unflatten(1, (self._kv_heads, -1)))
        values = self._linear(f"{name}.v_proj", x).unflatten(1, (self._kv_heads, -1))
        later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        heads = []
        for head in range(self._heads):
            shared = head * self._kv_heads // self._heads
            scores = queries[:, head] @ keys[:, shared].t() / math.sqrt(queries.shape[2])
            heads.append(scores.masked_fill(later, -math.inf).softmax(dim=1) @ values[:, shared])
        return self._linear(f"{name}.o_proj", torch.cat(heads, dim=1))

    def _turned(self, x: Tensor) -> Tensor:
        """[n, heads, width]: channels half a head apart are turned by their place."""
        half = x.shape[2] // 2
        rates = self._theta ** -(torch.arange(half).double() / half)
        angles = (torch.arange(len(x)).double()[:, None] * rates)[:, None]
        one, other = x.split(half, dim=2)
        return torch.cat([one * angles.cos() - other * angles.sin(), other * angles.cos() + one * angles.sin()], dim=2)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], self._state[f"{name}.weight"], self._eps)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self._state[f"{name}.weight"], self._state.get(f"{name}.bias"))
