"""HiFT's excitation: nine harmonics of the pitch where it is voiced, noise where it is not.

Upstream's SourceModuleHnNSF2 at 24 kHz, made exact and streaming. There the phase is a float32 cumulative sum over the
whole utterance, off by 0.05 rad on the ninth harmonic after 20 s; here it is a float64 carried modulo one turn. There
the noise comes from the process's generator; here from the stream's own, frame by frame, so that it does not depend on
how the stream was cut. Upstream's random initial phase of the overtones is drawn at a sample that its downsampling
skips, and so has no effect: here it is left out.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from cosyserve_workers.native.vocoder.weights import SAMPLES_PER_FRAME, HiftWeights

SAMPLE_RATE = 24_000
AMPLITUDE = 0.1
VOICED_NOISE = 0.003
UNVOICED_NOISE = AMPLITUDE / 3
VOICED_ABOVE_HZ = 10.0


@dataclass(slots=True)
class SourceState:
    """One stream's.

    turns: phase of the fundamental, mod 1, at the next frame's centre before that frame's own step; float64, where the
    pitch lies.
    """

    generator: torch.Generator
    turns: Tensor | float = 0.0
    noise: Tensor | None = None
    """[f, 480, harmonics]: drawn for frames that may still be made again."""
    started: bool = False


class HarmonicSource:
    """Makes the source from pitch. weight: [1, harmonics]; bias: [1]: the mixing layer."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight = weight.float()
        self._bias = bias.float()
        self._harmonics = weight.shape[1]
        offsets = (torch.arange(SAMPLES_PER_FRAME, dtype=torch.float64) + 0.5) / SAMPLES_PER_FRAME - 0.5
        self._offsets = offsets.to(weight.device)

    @classmethod
    def of(cls, weights: HiftWeights) -> "HarmonicSource":
        """The one of a vocoder's weights."""
        return cls(weights.tensor("m_source.l_linear.weight"), weights.tensor("m_source.l_linear.bias"))

    def make(self, f0: Tensor, state: SourceState, *, keep: int, final: bool) -> Tensor:
        """Continue the stream.

        f0: [t] Hz. keep: of these frames the first `keep` are settled; the others come again in the next call, with the
        same noise and better pitch. Returns [480 t] float32.
        """
        steps = f0.double() / SAMPLE_RATE
        centres = state.turns + torch.cumsum(steps, 0)
        phase = self._between_centres(centres, steps, state, final=final)
        voiced = (f0 > VOICED_ABOVE_HZ).float()[:, None, None]
        multiples = torch.arange(1, self._harmonics + 1, dtype=torch.float64, device=f0.device)
        # Samples in a frame times turns: exact modulo one turn, harmonic by harmonic.
        turns = (phase[..., None] * SAMPLES_PER_FRAME * multiples).frac()
        sines = AMPLITUDE * torch.sin(2 * math.pi * turns).float()
        noise_level = voiced * VOICED_NOISE + (1 - voiced) * UNVOICED_NOISE
        waves = sines * voiced + noise_level * self._noise(len(f0), state)
        self._settle(centres, state, keep)
        return torch.tanh(F.linear(waves, self._weight, self._bias)).flatten()

    def _between_centres(self, centres: Tensor, steps: Tensor, state: SourceState, *, final: bool) -> Tensor:
        """[t, 480]: phase over 480, linear between frame centres, flat before the first and after the last."""
        before = steps if state.started else torch.cat([steps.new_zeros(1), steps[1:]])
        last = steps.new_zeros(1) if final else steps[-1:]
        after = torch.cat([steps[1:], last])
        slope = torch.where(self._offsets < 0, before[:, None], after[:, None])
        return centres[:, None] + slope * self._offsets

    def _noise(self, frames: int, state: SourceState) -> Tensor:
        have = 0 if state.noise is None else len(state.noise)
        # A call a frame: what torch draws for a longer tensor depends on its length.
        drawn = [
            torch.randn(SAMPLES_PER_FRAME, self._harmonics, generator=state.generator) for _ in range(frames - have)
        ]
        fresh = torch.stack(drawn).to(self._weight.device) if drawn else None
        parts = [part for part in (state.noise, fresh) if part is not None]
        state.noise = torch.cat(parts)
        return state.noise

    def _settle(self, centres: Tensor, state: SourceState, keep: int) -> None:
        if keep:
            state.turns = centres[keep - 1].frac()
            state.started = True
            assert state.noise is not None
            state.noise = state.noise[keep:]
