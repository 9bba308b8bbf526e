"""One request's way through the model: text to speech tokens to mel to sound, chunk by chunk.

The library's own loop shares its chunk size between all requests, polls, starts a thread for the language model that
nobody stops, and spins for ever where that thread fails. So its public pieces are driven from here: `llm.inference` is
a generator that the stream's own thread draws from. Closing it is all that cancelling takes; what it raises is raised
here; and nothing is left behind, because nothing of a request is ever put into the model.

Language model and flow are two devices to us, each with its own turns: while one stream's chunk becomes sound, another
stream's tokens are made. Within one stream they alternate, which costs a lone stream some speed after its first chunk
and nothing before it.
"""

import itertools
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cosyserve_workers.cosyvoice.randomness import Dice
from cosyserve_workers.cosyvoice.turns import Pace, Turns
from cosyserve_workers.cosyvoice.vocoder import vocoder_for
from cosyserve_workers.cosyvoice.voices import Voice
from cosyserve_workers.mel_stretch import Stretch

GRID = 25
"""Chunks end at multiples of so many tokens, counted from the prompt's start: so the model was trained."""
FIRST_HOP = 25
LAST_HOP = 100
"""Tokens a chunk. Each flow call solves everything again from the prompt on, so chunks grow: 25, 50, 100, 100, ..."""
SILENT_TOKENS_IN_A_ROW = 5
"""More of them in a row are dropped, where the model names its silent tokens (CosyVoice3)."""
NOISE_FRAMES = 15_000
PLAN_FRAMES = 3_000
"""Mel frames, the prompt's among them, that the flow's noise table and a TensorRT plan have room for."""


class Stopped(Exception):
    """The job is cancelled."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What a request's mode puts before its text.

    prompt_text: [1, n] int32 ids that stand before the text's. continued: [1, P or 0] speech tokens that the language
    model goes on from, as if it had just said the prompt.
    """

    voice: Voice
    prompt_text: Tensor
    continued: Tensor


class Job:
    """A request on its way: its own dice, its own chunk size, and how urgent it is.

    Language model and vocoder have dice of their own, so that tokens do not depend on where chunks end.
    """

    def __init__(self, name: str, seed: int, speed: float, cancelled: Callable[[], bool]) -> None:
        self.name = name
        self.speed = speed
        self.pace = Pace()
        self.hop = FIRST_HOP
        self.words = Dice(seed)
        self.noise = Dice(seed)
        self._cancelled = cancelled
        self._segments = itertools.count()

    def check(self) -> None:
        """Ask whether to go on, which is the heartbeat too. Raises Stopped."""
        if self._cancelled():
            raise Stopped

    def segment_name(self) -> str:
        """Make a name that no other segment in the process has."""
        return f"{self.name}-{next(self._segments)}"


class Speech:
    """The model's three networks, shared by all streams. model: the library's `CosyVoice2Model` or its heir."""

    def __init__(self, model: Any, sample_rate: int) -> None:
        self._model = model
        self._sample_rate = sample_rate
        self._has_plan = not isinstance(model.flow.decoder.estimator, torch.nn.Module)
        self._has_vllm = hasattr(model.llm, "vllm")
        self._word_turns = Turns()
        self._sound_turns = Turns()

    def segment(self, text: Tensor, given: Conditioning, job: Job) -> Generator[Tensor, None, None]:
        """Speak [1, n] text ids: [m] samples, nominally in [-1, 1], a chunk at a time. Raises Stopped."""
        mel_to_sound = _Rendering(self, given.voice, job)
        look_ahead: int = self._model.flow.pre_lookahead_len
        tokens: list[int] = []
        done = 0
        hop = job.hop + -given.voice.tokens.shape[1] % GRID
        with closing(self._tokens(text, given, job)) as spoken:
            while True:
                wanted = done + hop + look_ahead
                tokens.extend(itertools.islice(spoken, wanted - len(tokens)))
                if len(tokens) < wanted:
                    break
                yield mel_to_sound(tokens, done, last=False)
                done += hop
                hop = job.hop = min(2 * job.hop, LAST_HOP)
        if tokens:
            yield mel_to_sound(tokens, done, last=True)

    def _tokens(self, text: Tensor, given: Conditioning, job: Job) -> Generator[int, None, None]:
        """Draw speech tokens as they are made, up to what the flow has room for."""
        silent = frozenset(getattr(self._model, "silent_tokens", ()))
        frames = PLAN_FRAMES if self._has_plan else NOISE_FRAMES
        room = frames // self._model.flow.token_mel_ratio - given.voice.tokens.shape[1]
        in_a_row = 0
        for token in itertools.islice(self._drawn(text, given, job), room):
            in_a_row = in_a_row + 1 if token in silent else 0
            if in_a_row <= SILENT_TOKENS_IN_A_ROW:
                yield token

    def _drawn(self, text: Tensor, given: Conditioning, job: Job) -> Generator[int, None, None]:
        """The library's generator, one step a turn."""
        name = job.segment_name()
        generator = self._model.llm.inference(
            text=text,
            text_len=self._length(text),
            prompt_text=given.prompt_text,
            prompt_text_len=self._length(given.prompt_text),
            prompt_speech_token=given.continued,
            prompt_speech_token_len=self._length(given.continued),
            embedding=given.voice.embedding,
            uuid=name,
        )
        try:
            with closing(generator):
                while True:
                    job.check()
                    token = self._next(generator, job)
                    if token is None:
                        return
                    yield int(token)
        finally:
            self._forget(name)

    def _next(self, generator: Generator[Any, None, None], job: Job) -> Any:
        with ExitStack() as step:
            if not self._has_vllm:  # which decodes all streams in one batch, whoever's turn it is
                step.enter_context(self._word_turns.take(job.pace.due()))
                # Its CUDA stream. One object for all threads: only for whose turn it is.
                step.enter_context(self._model.llm_context)
                step.enter_context(self._half_precision())
            step.enter_context(job.words.at_hand())
            return next(generator, None)

    def _forget(self, name: str) -> None:
        """Take a request out of vLLM, which does not notice that nobody reads it."""
        if not self._has_vllm:
            return
        llm = self._model.llm
        with llm.lock:
            if llm.vllm_output_queue.pop(name, None) is not None:
                llm.vllm.abort_request([name])

    def mel(self, tokens: list[int], done: int, voice: Voice, job: Job, *, last: bool) -> Tensor:
        """[1, 80, n] mel of the tokens from `done` on. tokens: all so far, where not the last, the look-ahead too."""
        model = self._model
        job.check()
        spoken = torch.tensor([tokens], dtype=torch.int32, device=model.device)
        with self._sound_turns.take(job.pace.due()), self._half_precision():
            mel, _ = model.flow.inference(
                token=spoken,
                token_len=self._length(spoken),
                prompt_token=voice.tokens,
                prompt_token_len=self._length(voice.tokens),
                prompt_feat=voice.mel,
                prompt_feat_len=self._length(voice.mel),
                embedding=voice.embedding,
                # The last chunk is solved without the mask of streaming, as the library does.
                streaming=not last,
                finalize=last,
            )
        new: Tensor = mel[:, :, done * model.flow.token_mel_ratio :]
        return new

    def sound(self, vocode: Callable[[], Tensor], job: Job) -> Tensor:
        """[m] samples on the CPU, of what `vocode` makes in its turn."""
        job.check()
        with self._sound_turns.take(job.pace.due()), job.noise.at_hand():
            samples = vocode().float().cpu()
        job.pace.sent(len(samples) / self._sample_rate)
        return samples

    def vocoder(self) -> Any:
        """Make the state that one segment's vocoder carries from chunk to chunk."""
        return vocoder_for(self._model.hift)

    def _half_precision(self) -> torch.autocast:
        return torch.autocast(self._model.device.type, torch.float16, enabled=bool(self._model.fp16))

    def _length(self, sequence: Tensor) -> Tensor:
        # A new one each time: the library adds to them in place.
        return torch.tensor([sequence.shape[1]], dtype=torch.int32, device=self._model.device)


class _Rendering:
    """A segment's way from tokens to sound, with what is carried over from chunk to chunk."""

    def __init__(self, speech: Speech, voice: Voice, job: Job) -> None:
        self._speech = speech
        self._voice = voice
        self._job = job
        self._stretch = Stretch(job.speed)
        self._vocoder = speech.vocoder()

    def __call__(self, tokens: list[int], done: int, *, last: bool) -> Tensor:
        mel = self._speech.mel(tokens, done, self._voice, self._job, last=last)
        paced = self._stretch.push(mel, last=last)
        return self._speech.sound(lambda: self._vocoder.push(paced, last=last), self._job)
