"""The engine `cosyvoice`: requests in, sound out."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cosyserve.protocol import DEFAULT_STREAMS, Mode, Prompt, Synthesize, TextConfig, split_system_prompt
from cosyserve_workers.cosyvoice.least_length import keep_least_length
from cosyserve_workers.cosyvoice.loading import Loaded
from cosyserve_workers.cosyvoice.randomness import use_dice
from cosyserve_workers.cosyvoice.speech import Conditioning, Job, Speech, Stopped
from cosyserve_workers.cosyvoice.text import TextFrontEnd
from cosyserve_workers.cosyvoice.voices import Voice, Voices, extract
from cosyserve_workers.engine import EngineBroken, LoadError

CudaLost = getattr(torch, "AcceleratorError", ())
"""What torch raises for errors after which a process cannot use its GPU any more."""


class CosyVoiceEngine:
    """CosyVoice2 or CosyVoice3, run by the library. streams: how many requests at once, 0 for the default.

    A waiting stream holds no memory worth mention, and turns decide who goes first: so all of ten requests are begun,
    their first chunks made in the order in which they came, where with fewer streams the last would wait until an
    earlier one had spoken its whole text.
    """

    def __init__(self, loaded: Loaded, streams: int, text: TextConfig) -> None:
        cosyvoice = loaded.cosyvoice
        self.model_type: str = type(cosyvoice).__name__
        self.sample_rate: int = cosyvoice.sample_rate
        self.streams = streams or DEFAULT_STREAMS
        self.details: Mapping[str, str] = loaded.details
        self._device = cosyvoice.model.device
        self.library = cosyvoice
        self.text = TextFrontEnd(cosyvoice.frontend, version3=self.model_type == "CosyVoice3", config=text)
        self._speech = Speech(cosyvoice.model, self.sample_rate)
        self._voices = Voices(
            lambda prompt: extract(cosyvoice.frontend, self.sample_rate, prompt, as_path=loaded.prompts_as_paths)
        )
        self._names = itertools.count()
        keep_least_length(cosyvoice.model.llm)
        use_dice(cosyvoice.model)

    def warm_up(self) -> None:
        """Speak a word. Raises LoadError where what comes out is no sound."""
        noise = np.random.default_rng(0).normal(0, 0.1, 2 * self.sample_rate).astype(np.float32)
        voice = Prompt(noise, self.sample_rate, "warm-up")
        request = Synthesize(0, "你好。", Mode.CROSS_LINGUAL, "", "", voice, 1.0, 0)
        for samples in self.stream(request, lambda: False):
            if not np.isfinite(samples).all():
                raise LoadError(f"the model makes no sound in {self.details['precision']}: set model.precision to fp32")

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """Speak a request: [n] samples a chunk. Raises RequestError, EngineBroken."""
        job = Job(f"job-{next(self._names)}", request.seed, request.speed, cancelled)
        try:
            parts = self.text.parts(request)
            job.check()
            given = self._conditioning(request, self._voices.voice(request.prompt))
            for part in parts:
                job.check()
                if part.text:
                    yield from self._said(part.text, given, job)
                if part.pause_s:
                    yield np.zeros(round(part.pause_s * self.sample_rate), np.float32)
        except Stopped:
            return
        except CudaLost as error:
            raise EngineBroken(f"the GPU is lost to this process: {error}") from error

    def _said(self, words: str, given: Conditioning, job: Job) -> Iterator[NDArray[np.float32]]:
        with closing(self._speech.segment(self._ids(words), given, job)) as chunks:
            for samples in chunks:
                yield samples.numpy()

    def _conditioning(self, request: Synthesize, voice: Voice) -> Conditioning:
        system_prompt = split_system_prompt(request.text)[0]
        match request.mode:
            case Mode.ZERO_SHOT:
                said, continued = self.text.before(request), voice.tokens
            case Mode.CROSS_LINGUAL:
                said, continued = self.text.system_prompt(system_prompt), voice.tokens[:, :0]
            case Mode.INSTRUCT2:
                said, continued = self.text.instruction(request.instruction, system_prompt), voice.tokens[:, :0]
        return Conditioning(voice, self._ids(said), continued)

    def _ids(self, text: str) -> Tensor:
        """[1, n] int32."""
        return torch.tensor([self.text.tokens(text)], dtype=torch.int32, device=self._device)

    def read_as(self, text: TextConfig) -> None:
        """Read the texts to come so. Raises LoadError."""
        self.text.read_as(text)

    def close(self) -> None:
        """Nothing that the end of the process does not do."""
