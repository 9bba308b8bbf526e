"""Draw the weights of a random CosyVoice3, set where chance alone would make tests blind (see `checkpoint_weights`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.checkpoint3_shapes import HARMONICS, MEL_BINS, SOUNDS, SPECTRUM, Shapes

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

_MEL_SLOPE = (-2.5, -7.5)
"""Mean log-mel of the lowest and of the highest bin, roughly as in speech."""
_MAGNITUDE_SLOPE = (-0.5, -4.5)
"""Mean log-magnitude of the lowest and of the highest line that the vocoder's inverse transform takes."""
_LEVEL = 4.0
"""What channel 0 of the language model holds at every place: the head has no bias, and this stands for one."""
_END = SOUNDS + 1
"""The first id after the sounds is the start's; the next one ends the speech."""
_ROTARY_BASE = 10000.0


def draw(shapes: Shapes) -> State:
    """Random tensors of these shapes: what comes in keeps its size, biases and scales are off their even values."""
    import torch

    return {name: _draw(name, torch.randn(shape)) for name, shape in shapes.items()}


def _draw(name: str, drawn: torch.Tensor) -> torch.Tensor:
    if name.endswith(("norm.weight", "layernorm.weight", ".alpha")):
        return 1 + 0.1 * drawn
    if drawn.dim() == 1:
        return 0.1 * drawn
    if name.endswith(("embed_tokens.weight", "embedding.weight")):
        return drawn
    return drawn / math.sqrt(drawn[0].numel())


def tune_llm(llm: State) -> None:
    """Make the logits as sharp as a trained model's, and the end likely enough to come after some dozens of tokens.

    Logits have a deviation of about 3, so that both bounds of nucleus sampling matter. Nothing writes to channel 0, and
    only the ends' rows read it: it is the bias that this head has not. Ids after the sounds, but for the end, are out
    of reach, as training leaves them.
    """
    layers = sum(name.endswith("o_proj.weight") for name in llm)
    for name, tensor in llm.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            # All layers together add about as much, however many there are: the last norm then divides by the same.
            tensor.mul_(1.5 / math.sqrt(layers))
            tensor[0] = 0.0
        elif name.endswith(("embed_tokens.weight", "speech_embedding.weight")):
            tensor[:, 0] = _LEVEL
    llm["llm.model.model.norm.weight"][0] = 1.0
    head = llm["llm_decoder.weight"]
    head.mul_(3.0)
    head[SOUNDS:] *= 0.2
    head[:SOUNDS, 0] = 0.0
    head[SOUNDS:, 0] = -100.0 / _LEVEL
    head[_END, 0] = 13.0 / _LEVEL
    llm["llm.model.lm_head.weight"] = llm["llm.model.model.embed_tokens.weight"]


def tune_flow(flow: State) -> None:
    """Make attention look at something and know its place, and put the mel where log-mels of speech lie."""
    import torch

    estimator = "decoder.estimator"
    for name, tensor in flow.items():
        if name.endswith(("to_q.weight", "to_k.weight")):
            tensor.mul_(1.4)
    flow["spk_embed_affine_layer.weight"].mul_(math.sqrt(flow["spk_embed_affine_layer.weight"].shape[1]))
    rates = flow[f"{estimator}.rotary_embed.inv_freq"]
    rates.copy_(_ROTARY_BASE ** -(torch.arange(len(rates)) / len(rates)))
    flow[f"{estimator}.proj_out.bias"].copy_(torch.linspace(*_MEL_SLOPE, MEL_BINS))


def tune_hift(hift: State) -> None:
    """Make mel and source both shape the sound, and the pitch that of speech."""
    import torch

    gain, direction = "parametrizations.weight.original0", "parametrizations.weight.original1"
    for name, tensor in hift.items():
        if name.endswith(gain):
            tensor.copy_(0.8 * (1 + 0.1 * torch.randn_like(tensor)))
        elif name.startswith("source_downs") and name.endswith("weight"):
            tensor.mul_(2.3)
    hift["m_source.l_linear.weight"].copy_(0.3 + 0.06 * torch.randn(1, HARMONICS))
    hift["m_source.l_linear.bias"].fill_(0.01)  # a larger one would be all that the network hears of the source
    _level_spectrum(hift, f"conv_post.{gain}")
    _tune_pitch(hift, gain, direction)


def _level_spectrum(hift: State, gain: str) -> None:
    """Bring the sound to about the loudness and the slope of speech, as measured on a mel and a buzz."""
    import torch

    from tests.model.native.vocoder.causal_reference import VocoderReference

    frames = 50
    mel = 1.5 * torch.randn(MEL_BINS, frames) + torch.linspace(*_MEL_SLOPE, MEL_BINS)[:, None]
    phase = 2 * math.pi * 200 * torch.arange(frames * 480) / 24000
    buzz = 0.03 * torch.stack([torch.sin(phase * harmonic) for harmonic in range(1, HARMONICS + 1)]).sum(dim=0)
    deviation, mean = torch.std_mean(VocoderReference(hift).spectrum(mel, buzz.double()).float(), dim=1)
    # rounded, so that the last bits, which depend on the number of threads, do not reach the weights
    scale = (0.5 / deviation).round(decimals=2)
    bias = hift["conv_post.bias"]
    mean = ((mean - bias) * scale).round(decimals=2)
    hift[gain].mul_(scale[:, None, None])
    bias.copy_(-mean)
    bias[: SPECTRUM // 2] += torch.linspace(*_MAGNITUDE_SLOPE, SPECTRUM // 2)


def _tune_pitch(hift: State, gain: str, direction: str) -> None:
    """Make f0 move between 80 and 400 Hz where voiced and lie under 10 Hz elsewhere.

    As in CosyVoice2's: two projections of the mel are smoothed, and their change over time taken, each carried as a
    pair ELU(x), ELU(-x) whose difference is odd; one decides on voicing, the other makes the pitch. Here the first
    convolution hears what is to come and the others what was.
    """
    import torch

    listen = torch.randn(2, MEL_BINS)
    listen /= listen.norm(dim=1, keepdim=True)
    split = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    steepness, threshold, liveliness = 100.0, -0.7, 0.6
    decide = torch.tensor([[-steepness, steepness, 0.0, 0.0], [0.0, 0.0, liveliness, -liveliness]])
    close = torch.tensor([[-1.0, 0.0], [-4.0, -1.0]])
    ahead, average = torch.full((4,), 1 / 4), torch.full((3,), 1 / 3)
    change, now = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 1.0])
    nought = torch.zeros(4)
    layers = (
        (split @ listen, ahead, nought),
        (split @ split.T, average, nought),
        (split @ split.T, change, nought),
        (decide, now, torch.tensor([steepness * threshold, 0.0])),
        (close, now, torch.tensor([-1.0, -4.0])),
    )
    for layer, (matrix, taps, bias) in enumerate(layers):
        name, kernel = f"f0_predictor.condnet.{2 * layer}", torch.einsum("oi,k->oik", matrix, taps)
        outputs, inputs = kernel.shape[:2]
        hift[f"{name}.{direction}"][:outputs] = 0.0
        hift[f"{name}.{direction}"][:outputs, :inputs] = kernel
        hift[f"{name}.{gain}"][:outputs, 0, 0] = kernel.flatten(1).norm(dim=1)
        hift[f"{name}.bias"][:outputs] = bias[:outputs]
    weight = hift["f0_predictor.classifier.weight"]
    weight.zero_()
    weight[0, :2] = torch.tensor([80.0, 160.0])
    hift["f0_predictor.classifier.bias"].fill_(240.0)
