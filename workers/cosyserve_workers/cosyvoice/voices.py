"""What the model needs to know of a prompt, computed once for each voice."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from cosyserve.protocol import FailureCode, Prompt
from cosyserve_workers.budgeted_cache import BudgetedCache
from cosyserve_workers.engine import RequestError
from cosyserve_workers.resampling import resample

VOICES = 100
"""How many are kept: at most 50 MB, were all of them 30 s long."""
LONGEST_PROMPT_S = 30.0
FRAMES_PER_TOKEN = 2
TOKENIZER_RATE = 16_000
"""Hz that the speech tokenizer and the speaker encoder hear."""


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A prompt's features, on the model's device; shared by requests, so nobody may write to them.

    tokens: [1, P] int32 speech tokens, 25 a second. mel: [1, 2P, 80] log-mel. embedding: [1, 192] of the speaker.
    """

    tokens: Tensor
    mel: Tensor
    embedding: Tensor


class Voices:
    """The voices used last, by the hash of their audio.

    The prompt's text is no part of a voice: it only becomes tokens of the language model, and those are made for each
    request. (The library stores both under one name, and then ignores the text that a call brings.)
    """

    def __init__(self, extract: Callable[[Prompt], Voice], capacity: int = VOICES) -> None:
        self._extract = extract
        self._known = BudgetedCache[str, Voice](capacity, lambda _: 1)

    def voice(self, prompt: Prompt) -> Voice:
        """Look it up or compute it. Requests that bring the same new voice at once wait for one computation."""
        return self._known.get(prompt.digest, lambda: self._extract(prompt))


def extract(frontend: Any, sample_rate: int, prompt: Prompt, *, as_path: bool) -> Voice:
    """Compute a voice with the library's front end.

    as_path: whether this generation of the library takes the path of a sound file, or [1, n] samples at 16 kHz. Of
    those it would make the mel too, without the upper band; so that is made here, as the later generation makes it.
    """
    if prompt.duration_s > LONGEST_PROMPT_S:
        raise RequestError(
            FailureCode.INVALID_PROMPT, f"the prompt is {prompt.duration_s:.1f} s long; 30 s is the longest"
        )
    if as_path:
        with tempfile.TemporaryDirectory(prefix="cosyserve-") as folder:
            path = Path(folder) / "prompt.wav"
            soundfile.write(path, prompt.samples, prompt.sample_rate, subtype="FLOAT")
            features = frontend.frontend_zero_shot("", "", str(path), sample_rate, "")
    else:
        heard = resample(prompt.samples, prompt.sample_rate, TOKENIZER_RATE)[None]
        features = frontend.frontend_zero_shot("", "", heard, sample_rate, "")
        features["prompt_speech_feat"] = _mel(frontend, sample_rate, prompt)
    if torch.cuda.is_available():
        # The language model and the rest run on streams of their own.
        torch.cuda.current_stream().synchronize()
    return _voice(features["flow_prompt_speech_token"], features["prompt_speech_feat"], features["flow_embedding"])


def _mel(frontend: Any, sample_rate: int, prompt: Prompt) -> Tensor:
    """[1, n, 80] at 50 Hz, of the recording itself."""
    samples = resample(prompt.samples, prompt.sample_rate, sample_rate)[None]
    mel: Tensor = frontend._extract_speech_feat(samples)[0]  # noqa: SLF001 - it has no other name
    return mel


def _voice(tokens: Tensor, mel: Tensor, embedding: Tensor) -> Voice:
    """Trimmed to two frames a token."""
    count = min(mel.shape[1] // FRAMES_PER_TOKEN, tokens.shape[1])
    return Voice(tokens[:, :count], mel[:, : FRAMES_PER_TOKEN * count], embedding)


def load_wav(path: str, target_sr: int, min_sr: int = TOKENIZER_RATE) -> Tensor:
    """Stand in for the library's function of this name: [1, n] at `target_sr` Hz.

    The library's goes through `torchaudio.load`, which since torchaudio 2.9 needs torchcodec and FFmpeg.
    """
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate < min_sr:
        raise ValueError(f"{rate} Hz is too low a rate for a prompt")
    return resample(samples.mean(axis=1), rate, target_sr)[None]
