"""How far one side is from another, stage by stage, and how far it may be."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.fidelity_made import Made
from cosyserve_workers.native.half_vocoder import LEAST_SNR_DB

RELATIVE = 1e-4
"""Of what is computed in float32: the greatest difference, as a part of the largest value. The tests hold it too."""
UNLIKELY = -50.0
"""Log-probabilities below this are not compared: no draw meets them."""
FP16_LARGEST = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Bars:
    """What may differ in a precision. What has no bar of its own is held to `RELATIVE`.

    logits_exact: whether they are; if not, and without `kl`, the mean of all steps in nat, they are only printed.
    mel_rms: in nat.
    """

    logits_exact: bool = True
    mel_rms: float | None = None
    kl: float | None = None
    half_vocoder: bool = False
    """Whether it may run in half precision: where the engine hears that it cannot, it runs it in float32."""


BARS = {
    "fp32": Bars(),
    "bf16": Bars(logits_exact=False, mel_rms=0.02, half_vocoder=True),
    "fp16": Bars(logits_exact=False, mel_rms=0.004),
    "int8": Bars(logits_exact=False, kl=0.05),
}


@dataclass(frozen=True)
class Measure:
    """One line of the report. holds: None where there is no bar."""

    stage: str
    greatest: float
    rms: float
    unit: str
    bar: str = ""
    holds: bool | None = None
    more: Mapping[str, float] = field(default_factory=dict)
    """What else is to be known of it, by name."""


def compare(wanted: Made, got: Made, bars: Bars) -> list[Measure]:
    """What each stage of a side differs by from the reference's."""
    return [
        _features("features: mel", wanted.voice.mel, got.voice.mel, "nat"),
        _features("features: speaker", wanted.voice.embedding, got.voice.embedding, ""),
        _speech_tokens(wanted.voice.speech_tokens, got.voice.speech_tokens),
        _text(wanted, got),
        _logits(wanted.scores, got.scores, bars),
        _mel(wanted.mel, got.mel, bars),
        _features("vocoder: pitch", wanted.pitch, got.pitch, "Hz"),
        _sound(wanted.sound, got.sound, bars),
    ]


def _features(stage: str, wanted: Tensor, got: Tensor, unit: str) -> Measure:
    return _measure(stage, unit, (wanted, got), _relative(wanted))


def _speech_tokens(wanted: Tensor, got: Tensor) -> Measure:
    differ = len(wanted) if len(wanted) != len(got) else int((wanted != got).sum())
    share = differ / len(wanted)
    return Measure("features: speech tokens", differ, share, "of them", "none", differ == 0, {"tokens": len(wanted)})


def _text(wanted: Made, got: Made) -> Measure:
    differ = sum(mine != theirs for mine, theirs in zip(got.ids, wanted.ids, strict=True))
    differ += got.before != wanted.before
    count = len(wanted.ids)
    return Measure("text ids", differ, differ / count, "texts", "none", differ == 0, {"texts": count})


def _logits(wanted: Tensor, got: Tensor, bars: Bars) -> Measure:
    wanted, got = wanted.double(), got.double()
    divergence = (wanted.exp() * (wanted - got)).sum(dim=-1)
    mean = float(divergence.mean())
    same = float((wanted.argmax(dim=-1) == got.argmax(dim=-1)).double().mean())
    kept = wanted > UNLIKELY
    bar = _relative(wanted[kept]) if bars.logits_exact else None
    if bars.kl is not None:
        most = bars.kl
        bar = f"KL ≤ {most:g}", lambda _: mean <= most
    more = {"KL": mean, "KL_largest": float(divergence.max()), "top1_same": same}
    return _measure("logits", "nat", (wanted[kept], got[kept]), bar, **more)


def _mel(wanted: Tensor, got: Tensor, bars: Bars) -> Measure:
    bar = _relative(wanted)
    if bars.mel_rms is not None:
        most = bars.mel_rms
        bar = f"rms ≤ {most:g}", lambda difference: _rms(difference) <= most
    return _measure("flow: mel", "nat", (wanted, got), bar)


def _sound(wanted: Tensor, got: Tensor, bars: Bars) -> Measure:
    noise = _rms(got - wanted) if wanted.shape == got.shape else math.inf
    ratio = 20 * math.log10(_rms(wanted) / max(noise, 1e-12))
    bar = _relative(wanted)
    if bars.half_vocoder:
        bar = f"{LEAST_SNR_DB:.0f} dB, or the engine takes fp32", lambda _: True if ratio >= LEAST_SNR_DB else None
    return _measure("vocoder: sound", "of full scale", (wanted, got), bar, snr_db=ratio)


Bar = tuple[str, Callable[[Tensor], bool | None]]
"""In words, and as a condition on the difference."""


def _relative(wanted: Tensor) -> Bar:
    largest = float(wanted.abs().max())
    return (
        f"greatest ≤ {RELATIVE * largest:.2g}",
        lambda difference: float(difference.abs().max()) <= (RELATIVE * largest),
    )


def _measure(stage: str, unit: str, pair: tuple[Tensor, Tensor], bar: Bar | None, **more: float) -> Measure:
    wanted, got = pair
    if wanted.shape != got.shape:
        return Measure(stage, torch.inf, torch.inf, unit, "the same shape", holds=False)
    difference = got.double() - wanted.double()
    name, holds = ("", None) if bar is None else (bar[0], bar[1](difference))
    return Measure(stage, float(difference.abs().max()), _rms(difference), unit, name, holds, more)


def _rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())
