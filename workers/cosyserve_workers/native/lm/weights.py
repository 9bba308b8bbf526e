"""The language model's weights: read from a model folder, checked, and laid out for few and large products."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.linear import Int8Linear, Linear, Product
from cosyserve_workers.native.models import COSYVOICE2, Model, ModelFolder, of_the_other
from cosyserve_workers.native.state_dicts import read_state_dict

QWEN_FOLDER = "CosyVoice-BlankEN"
STOP = 6561
"""The first id that is no sound: it and those after it end the speech."""
SOS, END, TASK, FILL = range(STOP, STOP + 4)
"""CosyVoice3's ids that are no sound and were used in training: of its speech embedding they begin the input, end the
speech, stand between text and speech, and ask for more text. (CosyVoice2 has a table of its own for the first and the
third.)"""

_BACKBONE = "llm.model.model"
_LAYER = re.compile(re.escape(_BACKBONE) + r"\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Sizes:
    """Numbers of the network, from its tensors' shapes and Qwen2's configuration.

    hidden: width of the residual stream. vocab: rows of the speech head. stops: which of its ids are no sound, and end
    the speech. text_vocab: rows of the text embedding. rope_theta: base of the rotary wavelengths. eps: added to the
    mean square by RMSNorm.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    stops: range
    text_vocab: int
    rope_theta: float
    eps: float


@dataclass(frozen=True)
class Layer:
    """One decoder layer: few and large products.

    qkv: hidden -> (heads + 2 kv_heads) * head_dim: queries, keys, values side by side. out: heads * head_dim -> hidden.
    gate_up: hidden -> 2 * inner: the gate, which goes through SiLU, and its partner. down: inner -> hidden.
    """

    attention_norm: Tensor
    qkv: Product
    out: Product
    mlp_norm: Tensor
    gate_up: Product
    down: Product


@dataclass(frozen=True)
class Weights:
    """The whole network.

    head: hidden -> vocab, and the norm before it: in float32 whatever the rest, because rounded to half precision a
    logit moves a probability by some per cent; CosyVoice3's has no bias. text: [text_vocab, hidden]. speech: [vocab,
    hidden]. start: [2, hidden], sos and task id.
    """

    sizes: Sizes
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Linear
    text: Tensor
    speech: Tensor
    start: Tensor


def load_weights(folder: ModelFolder, device: torch.device, dtype: torch.dtype, *, int8: bool = False) -> Weights:
    """Read `llm.pt` and `CosyVoice-BlankEN/config.json`. int8: whether the layers' matrices become bytes.

    What does not belong to the folder's model is told by names and shapes.

    Upstream's text head (`llm.model.lm_head`), which nothing in speech uses, stays in the file. Raises LoadError.
    """
    config = _read_config(folder.path / QWEN_FOLDER / "config.json")
    path = folder.path / folder.language_model
    return _Reader(path, device, dtype, Int8Linear if int8 else Linear, folder.model).weights(config)


@dataclass(frozen=True)
class _Config:
    """What shapes do not tell."""

    heads: int
    rope_theta: float
    eps: float


def _read_config(path: Path) -> _Config:
    try:
        config = json.loads(path.read_text("utf-8"))
        rope = config.get("rope_parameters") or {}  # where newer releases of transformers write it
        theta = config["rope_theta"] if "rope_theta" in config else rope["rope_theta"]
        return _Config(int(config["num_attention_heads"]), float(theta), float(config["rms_norm_eps"]))
    except OSError as error:
        raise LoadError(f"{path} is missing: copy the whole model folder") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"{path} is not Qwen2's configuration ({error!r}): copy the model folder again") from error


class _Reader:
    """Hands out the tensors of a state dict, each checked and moved."""

    def __init__(
        self, path: Path, device: torch.device, dtype: torch.dtype, product: type[Product], model: Model
    ) -> None:
        self._path = path
        self._model = model
        self._device = device
        self._dtype = dtype
        self._product = product
        self._state = read_state_dict(path)

    def weights(self, config: _Config) -> Weights:
        sizes = self._sizes(config)
        hidden, vocab = sizes.hidden, sizes.vocab
        exact = torch.promote_types(self._dtype, torch.float32)
        older = self._model is COSYVOICE2
        speech = self._tensor("speech_embedding.weight", vocab, hidden)
        return Weights(
            sizes=sizes,
            layers=tuple(self._layer(index, sizes) for index in range(sizes.layers)),
            norm=self._tensor(f"{_BACKBONE}.norm.weight", hidden, dtype=exact),
            head=Linear(
                self._tensor("llm_decoder.weight", vocab, hidden, dtype=exact),
                self._tensor("llm_decoder.bias", vocab, dtype=exact) if older else None,
            ),
            text=self._tensor(f"{_BACKBONE}.embed_tokens.weight", sizes.text_vocab, hidden),
            speech=speech,
            start=self._tensor("llm_embedding.weight", 2, hidden) if older else speech[[SOS, TASK]],
        )

    def _layer(self, index: int, sizes: Sizes) -> Layer:
        prefix = f"{_BACKBONE}.layers.{index}"
        hidden, width = sizes.hidden, sizes.heads * sizes.head_dim
        widths = {"q_proj": width, "k_proj": sizes.kv_heads * sizes.head_dim, "v_proj": sizes.kv_heads * sizes.head_dim}
        inner = self._shape(f"{prefix}.mlp.gate_proj.weight")[0]
        qkv = [self._tensor(f"{prefix}.self_attn.{name}.weight", w, hidden) for name, w in widths.items()]
        biases = [self._tensor(f"{prefix}.self_attn.{name}.bias", w) for name, w in widths.items()]
        gate_up = [self._tensor(f"{prefix}.mlp.{name}.weight", inner, hidden) for name in ("gate_proj", "up_proj")]
        return Layer(
            attention_norm=self._tensor(f"{prefix}.input_layernorm.weight", hidden),
            qkv=self._product(torch.cat(qkv), torch.cat(biases)),
            out=self._product(self._tensor(f"{prefix}.self_attn.o_proj.weight", hidden, width)),
            mlp_norm=self._tensor(f"{prefix}.post_attention_layernorm.weight", hidden),
            gate_up=self._product(torch.cat(gate_up)),
            down=self._product(self._tensor(f"{prefix}.mlp.down_proj.weight", hidden, inner)),
        )

    def _sizes(self, config: _Config) -> Sizes:
        vocab, hidden = self._shape("speech_embedding.weight")
        text_vocab = self._shape(f"{_BACKBONE}.embed_tokens.weight")[0]
        query = self._shape(f"{_BACKBONE}.layers.0.self_attn.q_proj.weight")[0]
        key = self._shape(f"{_BACKBONE}.layers.0.self_attn.k_proj.weight")[0]
        head_dim = query // config.heads
        if head_dim * config.heads != query or head_dim % 2 or key % head_dim or config.heads % (key // head_dim):
            raise LoadError(
                f"{self._path}: queries of {query} and keys of {key} do not fit the {config.heads} heads "
                f"in {QWEN_FOLDER}/config.json: both must be of one model"
            )
        self._check(vocab)
        found = (_LAYER.match(name) for name in self._state)
        layers = 1 + max(int(match[1]) for match in found if match)
        return Sizes(
            hidden=hidden,
            layers=layers,
            heads=config.heads,
            kv_heads=key // head_dim,
            head_dim=head_dim,
            vocab=vocab,
            stops=range(STOP, vocab),
            text_vocab=text_vocab,
            rope_theta=config.rope_theta,
            eps=config.eps,
        )

    def _check(self, vocab: int) -> None:
        """Whether it is of the folder's model: the one before CosyVoice3 begins its input with a table of its own."""
        if ("llm_embedding.weight" in self._state) is not (self._model is COSYVOICE2):
            raise of_the_other(self._model, self._path, "language model")
        least = STOP if self._model is COSYVOICE2 else FILL
        if vocab <= least:
            raise LoadError(f"{self._path} knows {vocab} speech tokens, {self._model.name} has more than {least}")

    def _shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the matrix `name`."""
        tensor = self._state.get(name)
        if tensor is None or tensor.dim() != 2:
            raise LoadError(f"{self._path} has no matrix {name!r}: it is not {self._model.name}'s language model")
        return tuple(tensor.shape)

    def _tensor(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return a copy of the tensor `name`, where and as it is needed; the file may then go away."""
        tensor = self._state.get(name)
        if tensor is None or tuple(tensor.shape) != shape:
            found = "nothing" if tensor is None else list(tensor.shape)
            raise LoadError(f"{self._path}: {name!r} should be of shape {list(shape)}, found {found}")
        return tensor.to(self._device, dtype or self._dtype, copy=True)
