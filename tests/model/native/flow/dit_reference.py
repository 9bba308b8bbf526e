"""CosyVoice3's flow written down plainly: float64, one pass over prompt and text. What ours is held against."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 50
STEPS = 10
GUIDANCE = 0.7
MEL_BINS = 80
LOOKAHEAD = 3
TAPS = 31
GROUPS = 16
TIME_WAVES = 256


class FlowReference:
    """state: of `flow.pt`."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = {name: tensor.double() for name, tensor in state.items()}
        self._rates = state["decoder.estimator.rotary_embed.inv_freq"].float()
        self._depth = len({name.split(".")[3] for name in state if ".transformer_blocks." in name})

    def mel(self, prompt: Tensor, prompt_mel: Tensor, speaker: Tensor, tokens: Tensor, chunk: int = CHUNK) -> Tensor:
        """[P], [2P, 80], [192], [T] -> [80, 2T] float64. chunk: of the mask, in frames; streaming has 50."""
        mean = self.mean(torch.cat([prompt, tokens]))
        voice = functional.normalize(speaker.double(), dim=0)
        voice = self._linear("spk_embed_affine_layer", voice).expand(len(mean), -1)
        hint = torch.zeros_like(mean)
        hint[: len(prompt_mel)] = prompt_mel
        noise = torch.randn((1, MEL_BINS, 15000), generator=torch.Generator().manual_seed(0))
        x = noise[0, :, : len(mean)].t().double()
        times = 1 - torch.cos(torch.linspace(0, 1, STEPS + 1, dtype=torch.float64) * math.pi / 2)
        nothing = torch.zeros_like(mean)
        for step in range(STEPS):
            guided = self.velocity(torch.cat([x, hint, mean, voice], dim=1), times[step], chunk)
            free = self.velocity(torch.cat([x, nothing, nothing, nothing], dim=1), times[step], chunk)
            x = x + (times[step + 1] - times[step]) * ((1 + GUIDANCE) * guided - GUIDANCE * free)
        return x[len(prompt_mel) :].t()

    def mean(self, tokens: Tensor) -> Tensor:
        """[n] -> [2n, 80]: the look-ahead layer, then each token twice."""
        embedded = self._state["input_embedding.weight"][tokens.clamp(min=0)]
        x = self._convolve("pre_lookahead_layer.conv1", functional.pad(embedded.t(), (0, LOOKAHEAD)))
        x = self._convolve("pre_lookahead_layer.conv2", functional.pad(functional.leaky_relu(x), (2, 0)))
        return (x.t() + embedded).repeat_interleave(2, dim=0)

    def velocity(self, inputs: Tensor, time: Tensor, chunk: int) -> Tensor:
        """[n, 320], one row of the estimator -> [n, 80]."""
        x = self._linear("decoder.estimator.input_embed.proj", inputs)
        near = x.t()
        for which in (1, 2):
            name = f"decoder.estimator.input_embed.conv_pos_embed.conv{which}.0"
            near = functional.mish(self._convolve(name, functional.pad(near, (TAPS - 1, 0)), GROUPS))
        x = x + near.t()
        rates = torch.exp(torch.arange(TIME_WAVES // 2).double() * -(math.log(10000) / (TIME_WAVES // 2 - 1)))
        waves = 1000 * time * rates
        moment = self._linear("decoder.estimator.time_embed.time_mlp.0", torch.cat([waves.sin(), waves.cos()]))
        moment = self._linear("decoder.estimator.time_embed.time_mlp.2", functional.silu(moment))
        moment = functional.silu(moment)
        frames = torch.arange(len(x))
        hidden = frames[None] >= (frames[:, None] // chunk + 1) * chunk
        for block in range(self._depth):
            x = self._block(f"decoder.estimator.transformer_blocks.{block}", x, moment, hidden)
        scale, shift = self._linear("decoder.estimator.norm_out.linear", moment).chunk(2)
        return self._linear("decoder.estimator.proj_out", _norm(x) * (1 + scale) + shift)

    def _block(self, name: str, x: Tensor, moment: Tensor, hidden: Tensor) -> Tensor:
        terms = self._linear(f"{name}.attn_norm.linear", moment).chunk(6)
        shift, scale, gate = terms[:3]
        x = x + gate * self._attention(f"{name}.attn", _norm(x) * (1 + scale) + shift, hidden)
        shift, scale, gate = terms[3:]
        inner = self._linear(f"{name}.ff.ff.0.0", _norm(x) * (1 + scale) + shift)
        return x + gate * self._linear(f"{name}.ff.ff.2", functional.gelu(inner, approximate="tanh"))

    def _attention(self, name: str, x: Tensor, hidden: Tensor) -> Tensor:
        """Rotary turns the first channels of the whole width, which is head 0; the other heads know no place."""
        queries, keys = (self._turned(self._linear(f"{name}.to_{which}", x)) for which in "qk")
        values = self._linear(f"{name}.to_v", x)
        width = 2 * len(self._rates)
        results = []
        for start in range(0, x.shape[1], width):
            head = slice(start, start + width)
            scores = queries[:, head] @ keys[:, head].t() / math.sqrt(width)
            results.append(scores.masked_fill(hidden, -math.inf).softmax(dim=1) @ values[:, head])
        return self._linear(f"{name}.to_out.0", torch.cat(results, dim=1))

    def _turned(self, x: Tensor) -> Tensor:
        """Turn the pairs of channels (0, 1), (2, 3), ... by each frame's place times their rate."""
        angles = (torch.arange(len(x)).float()[:, None] * self._rates).double()
        turned = x.clone()
        even, odd = x[:, 0 : 2 * len(self._rates) : 2], x[:, 1 : 2 * len(self._rates) : 2]
        turned[:, 0 : 2 * len(self._rates) : 2] = even * angles.cos() - odd * angles.sin()
        turned[:, 1 : 2 * len(self._rates) : 2] = odd * angles.cos() + even * angles.sin()
        return turned

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self._state[f"{name}.weight"], self._state[f"{name}.bias"])

    def _convolve(self, name: str, x: Tensor, groups: int = 1) -> Tensor:
        return functional.conv1d(x, self._state[f"{name}.weight"], self._state[f"{name}.bias"], groups=groups)


def _norm(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=1e-6)
