"""The vocoder in half precision, where the weights at hand bear it: tried on a second of sound when it is loaded."""

import logging
import math
from pathlib import Path

import torch
from torch import Tensor

from cosyserve_workers.native.features.spectra import mel
from cosyserve_workers.native.models import COSYVOICE2, Model
from cosyserve_workers.native.vocoder.source import SAMPLE_RATE
from cosyserve_workers.native.vocoder.stream import Vocoder, VocoderStep
from cosyserve_workers.native.vocoder.weights import HiftWeights

LEAST_SNR_DB = 30.0
"""Of half precision's sound, beside float32's of the same source."""
NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

log = logging.getLogger(__name__)


def load_vocoder(
    model_dir: Path, device: torch.device, dtype: torch.dtype, model: Model = COSYVOICE2
) -> tuple[Vocoder, str]:
    """Read `hift.pt`, to run in `dtype` or, where that is heard, in float32. Returns it and what it runs in, in words.

    Raises LoadError.
    """
    # Else convolutions in float32 keep ten bits of it on a GPU, and that is heard.
    torch.backends.cudnn.allow_tf32 = False
    weights = HiftWeights(model_dir, device, model)
    exact = Vocoder.of(weights, torch.float32)
    if dtype == torch.float32:
        return exact, NAMES[dtype]
    half = Vocoder.of(weights, dtype)
    ratio = signal_to_noise(exact, half, device)
    # Not a number, where something overflows, is not enough either.
    if ratio >= LEAST_SNR_DB:
        return half, f"{NAMES[dtype]}, {ratio:.0f} dB of signal to noise"
    told = f"fp32: {NAMES[dtype]} would have {ratio:.0f} dB of signal to noise, {LEAST_SNR_DB:.0f} are wanted"
    log.warning("the vocoder runs in %s", told)
    return exact, told


@torch.inference_mode()
def signal_to_noise(exact: Vocoder, half: Vocoder, device: torch.device) -> float:
    """How far the sound of one is from another's, in dB. Their pitch is float64, and so their source is the same."""
    heard = _buzz().to(device)
    wanted, got = (vocoder.advance([VocoderStep(vocoder.open(0), heard, final=True)])[0] for vocoder in (exact, half))
    noise = float((got - wanted).norm() / wanted.norm())
    return -20 * math.log10(noise) if noise else math.inf


def _buzz() -> Tensor:
    """The mel of a second with a melody, [80, 50]: what the vocoder is used to, more or less."""
    times = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * math.pi * torch.cumsum(180 + 60 * torch.sin(2 * math.pi * 0.7 * times), 0) / SAMPLE_RATE
    harmonics = torch.stack([torch.sin(harmonic * phase) / harmonic for harmonic in range(1, 8)]).sum(0)
    return mel(0.1 * harmonics * (1.2 + torch.sin(2 * math.pi * 4 * times))).t()
