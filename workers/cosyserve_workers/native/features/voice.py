"""A prompt's features: what the language model and the flow are told of a voice."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cosyserve.protocol import FailureCode, Prompt
from cosyserve_workers.engine import RequestError
from cosyserve_workers.native.features.onnx_models import SpeakerEncoder, SpeechTokenizer
from cosyserve_workers.native.features.spectra import HEARD_RATE, MEL_RATE, fbank, log_mel, mel
from cosyserve_workers.native.lanes import using_threads
from cosyserve_workers.native.models import COSYVOICE2, Model
from cosyserve_workers.resampling import resample

LONGEST_PROMPT_S = 30.0
"""The speech tokenizer knows no more (the library asserts it)."""
SHORTEST_PROMPT_S = 0.1
"""Below it there are no frames to speak of. The front end asks for a second."""
FRAMES_PER_TOKEN = 2


@dataclass(frozen=True, eq=False)
class VoiceFeatures:
    """What the models are told of a voice. On the CPU; shared by requests, so nobody may write to it."""

    speech_tokens: Tensor
    """int64 [P], 25 a second, each below 6561."""
    mel: Tensor
    """float32 [2P, 80]: log-mel at 50 Hz."""
    embedding: Tensor
    """float32 [192] of the speaker, of any norm."""

    @property
    def size_bytes(self) -> int:
        """Memory that it holds: 16 KB per second of the prompt."""
        return self.speech_tokens.nbytes + self.mel.nbytes + self.embedding.nbytes


class FeatureExtractor:
    """Hears prompts as the CosyVoice library's front end does. May be called from several threads at once."""

    def __init__(self, speaker: SpeakerEncoder, tokenizer: SpeechTokenizer, mel_top_hz: float) -> None:
        self._speaker = speaker
        self._tokenizer = tokenizer
        self._mel_top_hz = mel_top_hz

    @classmethod
    def load(cls, model_dir: Path, device: torch.device, model: Model = COSYVOICE2) -> "FeatureExtractor":
        """Load `campplus.onnx` and the speech tokenizer of a model folder.

        device: where the speech tokenizer runs if it can; all else is the CPU's. Raises LoadError, one line, where a
        file is missing, truncated or of another model.
        """
        tokenizer = SpeechTokenizer(model_dir / model.speech_tokenizer, device)
        return cls(SpeakerEncoder(model_dir), tokenizer, model.mel_top_hz)

    @property
    def runs_on(self) -> str:
        """Where the speech tokenizer runs: `cuda` or `cpu`."""
        return self._tokenizer.runs_on

    @torch.inference_mode()
    def extract(self, prompt: Prompt) -> VoiceFeatures:
        """Compute a voice's features. Raises RequestError where the prompt cannot be one.

        The mel is made from the recording itself, as in the library since late 2025. Before, it was made from the audio
        at 16 kHz, which gives another one, in the uppermost bins, where the recording has a higher rate.
        """
        # The caller is a stream's thread: helpers of its own would take the cores from the networks' (see `lanes`).
        with using_threads(1):
            return self._extract(prompt)

    def _extract(self, prompt: Prompt) -> VoiceFeatures:
        heard = _hear(prompt)
        tokens = self._tokenizer(log_mel(heard).numpy())
        embedding = self._speaker(fbank(heard).numpy())
        frames = mel(resample(prompt.samples, prompt.sample_rate, MEL_RATE), self._mel_top_hz)
        count = min(len(frames) // FRAMES_PER_TOKEN, len(tokens))
        if count == 0 or not np.isfinite(embedding).all():
            raise RequestError(
                FailureCode.INVALID_PROMPT, "no voice can be heard in the prompt: send another recording"
            )
        return VoiceFeatures(
            speech_tokens=torch.from_numpy(tokens[:count].copy()),
            mel=frames[: FRAMES_PER_TOKEN * count].clone(),
            embedding=torch.from_numpy(embedding.copy()),
        )


def _hear(prompt: Prompt) -> Tensor:
    """A prompt at 16 kHz, [n] float32. Raises RequestError where it is too long, too short or not of numbers."""
    length = f"the prompt is {prompt.duration_s:.2f} s long"
    if prompt.duration_s > LONGEST_PROMPT_S:
        raise RequestError(FailureCode.INVALID_PROMPT, f"{length}; {LONGEST_PROMPT_S:g} s is the longest")
    if prompt.duration_s < SHORTEST_PROMPT_S:
        raise RequestError(FailureCode.INVALID_PROMPT, f"{length}; {SHORTEST_PROMPT_S:g} s is the shortest")
    if not np.isfinite(prompt.samples).all():
        raise RequestError(FailureCode.INVALID_PROMPT, "the prompt has samples that are no numbers")
    return resample(prompt.samples, prompt.sample_rate, HEARD_RATE)
