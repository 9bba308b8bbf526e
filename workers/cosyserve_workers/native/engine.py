"""The engine `native`: requests in, sound out."""

from collections.abc import Callable, Generator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from cosyserve.protocol import Mode, Prompt, Synthesize, TextConfig
from cosyserve_workers.budgeted_cache import BudgetedCache
from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.cuda_graphs import COUNTS
from cosyserve_workers.native.driver import Driver
from cosyserve_workers.native.features.voice import FeatureExtractor, VoiceFeatures
from cosyserve_workers.native.networks import Networks
from cosyserve_workers.native.rendering import SAMPLE_RATE
from cosyserve_workers.native.script import ScriptWriter
from cosyserve_workers.native.utterances import Voice

FEATURES_BUDGET = 64 * 2**20
"""Bytes of voices' features: a hundred prompts of 30 s, and some hundreds of the usual length."""


class NativeEngine:
    """A model, run by our own code: any number of streams share each step of the networks."""

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        writer: ScriptWriter,
        extractor: FeatureExtractor,
        networks: Networks,
        details: Mapping[str, str],
    ) -> None:
        self.model_type = networks.model.name
        self.streams = networks.plan.slots
        self.details = details
        self._writer = writer
        self._extractor = extractor
        self._features = BudgetedCache[str, VoiceFeatures](FEATURES_BUDGET, lambda features: features.size_bytes)
        self._driver = Driver(networks)
        self._at_ready: Mapping[str, int] | None = None

    @property
    def counters(self) -> Mapping[str, int]:
        """Of what should not happen once it is ready: `_counted` since then."""
        before = self._at_ready or {}
        return {name: count - before.get(name, 0) for name, count in _counted().items()}

    def warm_up(self) -> None:
        """Speak a word. Raises LoadError where what comes out is no sound."""
        noise = np.random.default_rng(0).normal(0, 0.1, 2 * SAMPLE_RATE).astype(np.float32)
        voice = Prompt(noise, SAMPLE_RATE, "warm-up")
        request = Synthesize(0, "你好。", Mode.CROSS_LINGUAL, "", "", voice, 1.0, 0)
        chunks = list(self.stream(request, lambda: False))
        if not chunks or not all(np.isfinite(samples).all() for samples in chunks):
            raise LoadError(f"the model makes no sound in {self.details['precision']}: set model.precision to fp32")
        if self._at_ready is None:
            self._at_ready = _counted()

    def stream(
        self, request: Synthesize, cancelled: Callable[[], bool]
    ) -> Generator[NDArray[np.float32], None, Mapping[str, float]]:
        """Speak a request: [n] samples a chunk. Returns its share of the turns. Raises RequestError, EngineBroken."""
        prompt = request.prompt
        features = self._features.get(prompt.digest, lambda: self._extractor.extract(prompt))
        segments = self._writer.segments(request, features.speech_tokens.tolist())
        if cancelled():
            return {}
        utterance = self._driver.begin(Voice(prompt.digest, features), request.seed, request.speed, cancelled)
        try:
            # The next block of text is prepared while this one is spoken.
            for segment in segments:
                if not segment.text:
                    yield np.zeros(round(segment.pause_s * SAMPLE_RATE), np.float32)
                    continue
                utterance.say(segment)
                yield from utterance.made()
            utterance.finish()
            yield from utterance.rest()
            return dict(utterance.shares)
        finally:
            utterance.leave()

    def read_as(self, text: TextConfig) -> None:
        """Read the texts to come so. Raises LoadError."""
        self._writer.read_as(text)

    def close(self) -> None:
        """End the networks' thread."""
        self._driver.close()


def _counted() -> dict[str, int]:
    """Graphs recorded and done without; on a GPU also how often its memory ran short, and what for."""
    if not torch.cuda.is_initialized():
        return dict(COUNTS)
    memory = torch.cuda.memory_stats()
    return {**COUNTS, "allocator_retries": memory["num_alloc_retries"], "out_of_memory": memory["num_ooms"]}
