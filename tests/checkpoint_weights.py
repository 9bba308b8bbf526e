"""Set the weights of a random checkpoint where chance alone would make tests blind.

Left as they are drawn, the language model never stops, attention averages over all it sees, the speaker is not heard,
the vocoder repeats one pulse whatever the mel, and f0 never gets near the voicing threshold.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tests.checkpoint_onnx import SPEECH_TOKENS

if TYPE_CHECKING:
    import torch
    from torch import nn

_MEL_BINS = 80
_MEL_SLOPE = (-2.5, -7.5)
"""Mean log-mel of the lowest and of the highest bin, roughly as in speech."""
_MAGNITUDE_SLOPE = (-0.5, -4.5)
"""Mean log-magnitude of the lowest and of the highest line that the vocoder's inverse transform takes."""


def tune(llm: nn.Module, flow: nn.Module, hift: nn.Module, seed: int) -> None:
    """Change the weights of the three networks in place. The same seed gives the same weights."""
    import torch

    with torch.no_grad():
        torch.manual_seed(seed)
        for module in (llm, flow, hift):
            _jitter_vectors(module)
        _tune_llm(llm)
        _tune_flow(flow)
        _tune_vocoder(hift)
        _tune_pitch(hift.get_submodule("f0_predictor"))


def _jitter_vectors(module: nn.Module) -> None:
    """Move biases and the scales of norms off their even starting values: one taken for another then shows."""
    import torch

    for parameter in module.parameters():
        if parameter.dim() == 1:
            parameter.add_(torch.randn_like(parameter), alpha=0.1)


def _tune_llm(llm: nn.Module) -> None:
    """Draw the language model anew, as sharp as a trained one, and make it stop now and then.

    The logits get a deviation of about 3, so that both bounds of nucleus sampling (0.8 of the mass, 25 tokens) matter.
    The stop token is raised until it ends a sentence after some dozens of tokens, and made nearly as likely at every
    step: the library fails if it is all but certain before the least length. The two ids after it are pushed out of
    reach, as training does: the library handles them differently from release to release.
    """
    for name, parameter in llm.named_parameters():
        if parameter.dim() == 2:
            parameter.normal_(0.0, 1.0 if "embed" in name else parameter.shape[1] ** -0.5)
    weight, bias = llm.get_parameter("llm_decoder.weight"), llm.get_parameter("llm_decoder.bias")
    weight.mul_(3.0)
    weight[SPEECH_TOKENS] *= 0.2
    bias[SPEECH_TOKENS] = 9.0
    bias[SPEECH_TOKENS + 1 :] = -100.0


def _tune_flow(flow: nn.Module) -> None:
    """Make attention look at something, make the speaker heard, and put the mel where log-mels of speech lie."""
    import torch

    for name, parameter in flow.named_parameters():
        if name.endswith(("linear_q.weight", "linear_k.weight", "linear_pos.weight", "to_q.weight", "to_k.weight")):
            parameter.mul_(2.0)
    flow.get_parameter("spk_embed_affine_layer.weight").mul_(12.0)
    flow.get_parameter("decoder.estimator.final_proj.bias").copy_(torch.linspace(*_MEL_SLOPE, _MEL_BINS))


def _tune_vocoder(hift: Any) -> None:
    """Raise the gains until mel and source both shape the sound; take the nine harmonics at about even shares."""
    import torch

    for name, parameter in hift.named_parameters():
        if name.startswith("f0_predictor"):
            continue
        if name.endswith("weight.original0"):
            parameter.mul_(1.4)
        elif name.startswith("source_downs") and name.endswith("weight"):
            parameter.mul_(4.0)
    merge = hift.m_source.l_linear
    merge.weight.copy_(0.3 + 0.06 * torch.randn_like(merge.weight))
    merge.bias.fill_(0.01)  # a larger one would be all that the network hears of the source
    _level_spectrum(hift)


def _level_spectrum(hift: Any) -> None:
    """Bring the sound to about the loudness and the slope of speech.

    The last convolution gives log-magnitudes and phases. A random one has large constant parts, in which all else
    drowns. So it is measured on a mel and a buzz; its channels are set to a deviation of 0.5, and to a mean of nought
    (phases) or one that falls with frequency (magnitudes).
    """
    import torch

    frames = 50
    mel = 1.5 * torch.randn(1, _MEL_BINS, frames) + torch.linspace(*_MEL_SLOPE, _MEL_BINS)[None, :, None]
    phase = 2 * math.pi * 200 * torch.arange(frames * 480) / 24000
    buzz = 0.03 * torch.stack([torch.sin(phase * harmonic) for harmonic in range(1, 10)]).sum(dim=0)
    outputs: list[torch.Tensor] = []
    hook = hift.conv_post.register_forward_hook(lambda _module, _inputs, output: outputs.append(output[0]))
    hift.decode(mel, buzz[None, None])
    hook.remove()
    deviation, mean = torch.std_mean(outputs[0], dim=1)
    # rounded, so that the last bits, which depend on the number of threads, do not reach the weights
    scale = (0.5 / deviation).round(decimals=2)
    bias = hift.conv_post.bias
    mean = ((mean - bias) * scale).round(decimals=2)
    hift.conv_post.parametrizations.weight.original0.mul_(scale[:, None, None])
    bias.copy_(-mean)
    lines = len(bias) // 2
    bias[:lines] += torch.linspace(*_MAGNITUDE_SLOPE, lines)


def _tune_pitch(predictor: nn.Module) -> None:
    """Make f0 move between 80 and 400 Hz where voiced and lie under 10 Hz elsewhere (random weights give 0.1 Hz).

    Of each convolution a few channels are set, and only they reach the output. The first three smooth two projections
    of the mel and take their change over time: one decides on voicing, one makes the pitch. Each is carried as a pair,
    ELU(x) and ELU(-x), whose difference is odd and keeps rising, so that no offset meets the zero padding at the edges.
    The last two turn them into f0 = 240 + 80 q + 160 r, where voiced has q = 0 and -1 < r <= 1, unvoiced q = r = -1.
    """
    import torch

    listen = torch.randn(2, _MEL_BINS)
    listen /= listen.norm(dim=1, keepdim=True)
    split = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    average, change = torch.full((3,), 1 / 3), torch.tensor([-1.0, 0.0, 1.0])
    nought = torch.zeros(4)
    steps = ((split @ listen, average), (split @ split.T, average), (split @ split.T, change))
    for layer, (matrix, kernel) in enumerate(steps):
        _set_channels(predictor, layer, torch.einsum("oi,k->oik", matrix, kernel), nought)
    steepness, threshold, liveliness = 100.0, -0.7, 0.6
    decide = torch.tensor([[-steepness, steepness, 0.0, 0.0], [0.0, 0.0, liveliness, -liveliness]])
    _set_channels(predictor, 3, _middle(decide), torch.tensor([steepness * threshold, 0.0]))
    close = torch.tensor([[-1.0, 0.0], [-4.0, -1.0]])
    _set_channels(predictor, 4, _middle(close), torch.tensor([-1.0, -4.0]))
    weight = predictor.get_parameter("classifier.weight")
    weight.zero_()
    weight[0, :2] = torch.tensor([80.0, 160.0])
    predictor.get_parameter("classifier.bias").fill_(240.0)


def _middle(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix as a kernel over three frames that sees the middle one only: [out, in] -> [out, in, 3]."""
    import torch

    return torch.nn.functional.pad(matrix[:, :, None], (1, 1))


def _set_channels(predictor: nn.Module, layer: int, kernel: torch.Tensor, bias: torch.Tensor) -> None:
    """Set the first channels of one of the predictor's five convolutions, through its weight normalisation.

    `kernel` is [out, in, 3]; inputs it does not name get weight nought.
    """
    convolution = predictor.get_submodule(f"condnet.{2 * layer}")
    scale = convolution.get_parameter("parametrizations.weight.original0")
    direction = convolution.get_parameter("parametrizations.weight.original1")
    outputs, inputs = kernel.shape[:2]
    direction[:outputs] = 0.0
    direction[:outputs, :inputs] = kernel
    scale[:outputs, 0, 0] = kernel.flatten(1).norm(dim=1)
    convolution.get_parameter("bias")[:outputs] = bias
