"""What the models hear of a prompt: three kinds of spectra, number for number those of the CosyVoice library."""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.compliance import kaldi

HEARD_RATE = 16_000
"""Hz of the audio that the speech tokenizer and the speaker encoder hear."""
MEL_RATE = 24_000
"""Hz of the audio whose mel the flow is prompted with."""
MEL_BINS = 80
MEL_HOP = 480
MEL_WINDOW = 1920
TOP_HZ = 8000.0
"""Of what the speech tokenizers hear, and of CosyVoice2's mel."""
LOG_MEL_BINS = 128
LOG_MEL_WINDOW = 400
LOG_MEL_HOP = 160
FBANK_BINS = 80

_LINEAR_HZ = 1000.0
_MELS_PER_HZ = 3 / 200
_MELS_PER_OCTAVE_OF_6_4 = 27


def mel(samples: Tensor, top_hz: float = TOP_HZ) -> Tensor:
    """Log-mel at 50 Hz that the flow and the vocoder know (upstream: `matcha.utils.audio.mel_spectrogram`).

    samples: [n] float32 at 24 kHz, more than 720. top_hz: of the last bin, the model's own. Returns [n // 480, 80]
    float32.
    """
    edge = (MEL_WINDOW - MEL_HOP) // 2
    padded = pad(samples[None], (edge, edge), mode="reflect")[0]
    window = torch.hann_window(MEL_WINDOW)
    spectrum = torch.stft(padded, MEL_WINDOW, MEL_HOP, window=window, center=False, return_complex=True)
    magnitudes = torch.sqrt(torch.view_as_real(spectrum).pow(2).sum(-1) + 1e-9)
    return (_filters(MEL_RATE, MEL_WINDOW, MEL_BINS, top_hz) @ magnitudes).clamp(min=1e-5).log().t().contiguous()


def log_mel(samples: Tensor) -> Tensor:
    """Log-mel at 100 Hz for the speech tokenizer (upstream: `whisper.log_mel_spectrogram`, 128 bins).

    samples: [n] float32 at 16 kHz, more than 200. Returns [128, n // 160] float32.
    """
    window = torch.hann_window(LOG_MEL_WINDOW)
    spectrum = torch.stft(samples, LOG_MEL_WINDOW, LOG_MEL_HOP, window=window, return_complex=True)
    power = spectrum[..., :-1].abs() ** 2
    levels = (_filters(HEARD_RATE, LOG_MEL_WINDOW, LOG_MEL_BINS, TOP_HZ) @ power).clamp(min=1e-10).log10()
    return (torch.maximum(levels, levels.max() - 8.0) + 4.0) / 4.0


def fbank(samples: Tensor) -> Tensor:
    """Kaldi's log filter bank at 100 Hz for the speaker encoder, its mean over time removed.

    samples: [n] float32 at 16 kHz, at least 400. Returns [1 + (n - 400) // 160, 80] float32.
    """
    levels: Tensor = kaldi.fbank(samples[None], num_mel_bins=FBANK_BINS, dither=0.0, sample_frequency=HEARD_RATE)
    return levels - levels.mean(dim=0, keepdim=True)


@cache
def _filters(rate: int, window: int, bins: int, top_hz: float) -> Tensor:
    """Triangles of unit area, evenly spaced from 0 to `top_hz` on Slaney's mel scale: [bins, window // 2 + 1] float32.

    As `librosa.filters.mel` makes them (Slaney 1998, Auditory Toolbox). In float64 up to the end: torchaudio's, made in
    float32, differ by 4e-6 of the largest, and a speech token may hang on less.
    """
    marks = torch.linspace(0.0, _mel_of(top_hz), bins + 2, dtype=torch.float64)
    hertz = _hertz_of(marks)
    frequencies = torch.arange(window // 2 + 1, dtype=torch.float64) * (rate / window)
    distance = hertz[:, None] - frequencies
    widths = hertz.diff()[:, None]
    rising, falling = -distance[:-2] / widths[:-1], distance[2:] / widths[1:]
    areas = (hertz[2:] - hertz[:-2])[:, None] / 2
    return (torch.minimum(rising, falling).clamp(min=0) / areas).float()


def _mel_of(hertz: float) -> float:
    """Slaney's mel of a frequency over 1 kHz, below which the scale is linear."""
    return _LINEAR_HZ * _MELS_PER_HZ + math.log(hertz / _LINEAR_HZ) / math.log(6.4) * _MELS_PER_OCTAVE_OF_6_4


def _hertz_of(mels: Tensor) -> Tensor:
    bend = _LINEAR_HZ * _MELS_PER_HZ
    return torch.where(mels < bend, mels / _MELS_PER_HZ, _LINEAR_HZ * 6.4 ** ((mels - bend) / _MELS_PER_OCTAVE_OF_6_4))
