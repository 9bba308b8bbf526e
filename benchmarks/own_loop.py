"""The CosyVoice library in its own loop, as a server runs it that wraps its generator.

There, each request's language model has a thread, sound is polled for, and everything runs at once. Only what each
call would spoil for the others is kept apart: a request has a chunk size of its own, which grows 25, 50, 100 as in the
newest release, and a voice's features are computed once.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosyserve.protocol import END_OF_PROMPT, EngineConfig, Synthesize

HOP, LAST_HOP = 25, 100


class OwnLoop:
    """An engine as the benchmark sees it. config: as for the engine `cosyvoice`."""

    model_type = "CosyVoice2"
    sample_rate = 24_000

    def __init__(self, config: EngineConfig) -> None:
        from cosyserve_workers.cosyvoice.accelerations import Machine
        from cosyserve_workers.cosyvoice.loading import load
        from cosyserve_workers.cosyvoice.voices import Voices, extract
        from cosyserve_workers.native.models import COSYVOICE3, model_in
        from cosyserve_workers.text import SYSTEM_PROMPT

        loaded = load(config, Machine.here())
        self.streams = config.streams
        self.details: Mapping[str, str] = loaded.details
        self._library = loaded.cosyvoice
        newer = model_in(Path(config.model_dir)) is COSYVOICE3
        self._before = SYSTEM_PROMPT + END_OF_PROMPT if newer else ""
        frontend = self._library.frontend
        self._voices = Voices(
            lambda prompt: extract(frontend, self.sample_rate, prompt, as_path=loaded.prompts_as_paths)
        )
        self._tokens: Sequence[int] = ()
        llm = self._library.model.llm
        self._sampling = llm.sampling
        llm.sampling = self._sample

    def force(self, tokens: Sequence[int]) -> None:
        """Have all requests from now on say these tokens."""
        self._tokens = tokens

    def _sample(self, scores: Any, said: list[int], count: int) -> Any:
        import torch

        self._sampling(scores, said, count)
        return torch.tensor([self._tokens[len(said)] if len(said) < len(self._tokens) else 6561])

    def warm_up(self) -> None:
        """Nothing: takes are rehearsed."""

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        """Speak a request, one segment, in the mode zero_shot."""
        del cancelled
        frontend = self._library.frontend
        voice = self._voices.voice(request.prompt)
        text, _ = frontend._extract_text_token(request.text)  # noqa: SLF001 - the library's own
        prompt_text, _ = frontend._extract_text_token(self._before + request.prompt_text)  # noqa: SLF001
        sounds = _with_own_hop(self._library.model).tts(
            text=text,
            flow_embedding=voice.embedding,
            llm_embedding=voice.embedding,
            prompt_text=prompt_text,
            llm_prompt_speech_token=voice.tokens,
            flow_prompt_speech_token=voice.tokens,
            prompt_speech_feat=voice.mel,
            stream=True,
        )
        for sound in sounds:
            yield sound["tts_speech"][0].numpy()

    def close(self) -> None:
        """Nothing."""


def _with_own_hop(model: Any) -> Any:
    """The same networks and dictionaries, and a chunk size that belongs to one request."""
    one = copy.copy(model)
    one.token_hop_len = HOP

    def token2wav(*, finalize: bool = False, **given: Any) -> Any:
        sound = model.token2wav(finalize=finalize, **given)
        if not finalize:
            one.token_hop_len = min(2 * one.token_hop_len, LAST_HOP)
        return sound

    one.token2wav = token2wav
    return one
