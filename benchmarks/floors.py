"""What each network of a model folder does for a second of sound, from its weights' shapes; what this machine can do.

A multiplication with its addition counts as two operations. What need not be computed anew is not counted. What grows
with length is counted apart: the estimator's attention, per frame that a frame looks back on. The language model's and
the encoder's attention, norms and activations are left out, some per cent of the rest: a floor may lie too low, not too
high.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cosyserve_workers.native.flow.sizes import CONDITION_CHANNELS, EULER_STEPS, GUIDANCE_ROWS, MEL_BINS
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, Model, model_in
from cosyserve_workers.native.vocoder.weights import HiftWeights

FRAME_RATE = 50
_REPEATS = 5
_SQUARE = 2048
_TALL = (65_536, 4096)
_OPERATIONS = 2
_FIRST = {
    COSYVOICE2: ("decoder.estimator.down_blocks.0.0.block1.", "decoder.estimator.down_blocks.0.0.res_conv."),
    COSYVOICE3: ("decoder.estimator.input_embed.proj.",),
}
"""The layers that the estimator's input enters."""
_TIME = ("mlp", "time_embed", "norm.linear", "norm_out.linear")
"""Parts of the names of what hears the time alone, which is the same for all frames."""


@dataclass(frozen=True)
class Floors:
    """Of one model.

    lm_weights: numbers that a step of the language model reads, each used once for each token. The rest are operations:
    flow_frame: encoder and estimator, for each frame. flow_context: estimator, for each frame and each frame of its
    context. vocoder_second: for each second of sound.
    """

    lm_weights: int
    encoder_frame: int
    estimator_frame: int
    flow_context: int
    vocoder_second: int

    @property
    def flow_frame(self) -> int:
        """Operations of the flow for a frame, but for what grows with length."""
        return self.encoder_frame + self.estimator_frame

    @classmethod
    def of(cls, model_dir: Path) -> "Floors":
        """Read the shapes in a model folder."""
        model = model_in(model_dir)
        lm, flow = (_matrices(model_dir / name) for name in ("llm.pt", "flow.pt"))
        # The unguided row of the first step is the same for all streams.
        solves = EULER_STEPS * GUIDANCE_ROWS - 1
        estimator = {name: tensor for name, tensor in flow.items() if name.startswith("decoder.estimator.")}
        for_each_solve = _count(estimator, lambda name: not any(part in name for part in _TIME))
        first = _count(estimator, lambda name: name.startswith(_FIRST[model]))
        # Of its input the noisy mel is the same in both rows of a step; the rest in all steps, and nought in one row.
        mel = first * MEL_BINS // (MEL_BINS + CONDITION_CHANNELS)
        least = solves * (for_each_solve - first) + EULER_STEPS * mel + (first - mel)
        values = [tensor for name, tensor in estimator.items() if name.endswith("to_v.weight")]
        return cls(
            lm_weights=_count(lm, lambda name: ".layers." in name or name.startswith("llm_decoder")),
            encoder_frame=_OPERATIONS * _ENCODERS[model](flow),
            estimator_frame=_OPERATIONS * least,
            # Queries with keys, then weights with values.
            flow_context=_OPERATIONS * solves * 2 * sum(tensor.shape[0] for tensor in values),
            vocoder_second=_OPERATIONS * _vocoder_weights(model_dir, model),
        )


@dataclass(frozen=True)
class Machine:
    """What can be had at most, measured here. operations: per second. bytes_read: of memory, per second."""

    operations: float
    bytes_read: float

    @classmethod
    def measure(cls, device: torch.device, dtype: torch.dtype) -> "Machine":
        """Time a large product of matrices, and of a matrix with a vector: the best of some."""
        square = torch.randn(_SQUARE, _SQUARE, device=device, dtype=dtype)
        tall = torch.randn(_TALL, device=device, dtype=dtype)
        vector = torch.randn(_TALL[1], device=device, dtype=dtype)
        product_s = _best(lambda: square @ square, device)
        reading_s = _best(lambda: tall @ vector, device)
        return cls(_OPERATIONS * _SQUARE**3 / product_s, tall.nbytes / reading_s)


def _encoder_weights(flow: Mapping[str, Tensor]) -> int:
    """Weights used for a frame; what runs at the tokens' rate is used for every other frame."""
    # Positions and embedded tokens can be looked up.
    spared = ("pos_bias", "linear_pos", "encoder.embed.")
    encoder = {
        name: tensor
        for name, tensor in flow.items()
        if name.startswith("encoder") and not any(part in name for part in spared)
    }
    upsampled = ("encoder.up_", "encoder_proj")
    fast = _count(encoder, lambda name: name.startswith(upsampled))
    slow = _count(encoder, lambda name: not name.startswith(upsampled))
    # Of five frames that this convolution sees, three are different: each is there twice.
    twice = encoder["encoder.up_layer.conv.weight"].numel() * 2 // 5
    return fast - twice + slow // 2


def _look_ahead_weights(flow: Mapping[str, Tensor]) -> int:
    """The same of the newer model, whose encoder is at the tokens' rate alone."""
    return _count(flow, lambda name: name.startswith("pre_lookahead_layer.")) // 2


_ENCODERS = {COSYVOICE2: _encoder_weights, COSYVOICE3: _look_ahead_weights}


def _vocoder_weights(model_dir: Path, model: Model) -> int:
    """Weights used for a second of sound, each as often as its rate says."""
    sizes = HiftWeights(model_dir, torch.device("cpu"), model).sizes
    # Of a weight norm's two parts one has the weight's shape; the other, a number for each row, is no weight.
    tensors = {name: tensor for name, tensor in _matrices(model_dir / "hift.pt").items() if "original0" not in name}

    def count(prefix: str) -> int:
        return _count(tensors, lambda name: name.startswith(prefix))

    rate = FRAME_RATE
    used = rate * (count("conv_pre.") + count("f0_predictor."))
    for level, factor in enumerate(sizes.upsampling):
        up = count(f"ups.{level}.")
        if model is COSYVOICE3:
            # Of `factor` samples that are alike the taps add up.
            taps = tensors[f"ups.{level}.parametrizations.weight.original1"].shape[-1]
            up = up * (taps + factor - 1) // taps
        used += rate * up
        rate *= factor
        blocks = [f"resblocks.{level * sizes.branches + branch}." for branch in range(sizes.branches)]
        used += rate * sum(map(count, [*blocks, f"source_resblocks.{level}.", f"source_downs.{level}."]))
    return used + rate * count("conv_post.")


def _matrices(path: Path) -> dict[str, Tensor]:
    """Read a state dict, the tensors that are no vectors; nothing but their shapes is read from the file."""
    state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return {name: tensor for name, tensor in state.items() if tensor.dim() > 1}


def _count(tensors: Mapping[str, Tensor], wanted: Callable[[str], bool]) -> int:
    counts: list[int] = [tensor.numel() for name, tensor in tensors.items() if wanted(name)]
    return sum(counts)


def _best(run: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds, the least of some."""
    times = []
    for _ in range(_REPEATS):
        wait_for(device)
        started = time.perf_counter()
        run()
        wait_for(device)
        times.append(time.perf_counter() - started)
    return min(times)


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
