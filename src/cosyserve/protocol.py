"""The messages between the front end and its workers: frozen dataclasses, and how their texts are marked.

Parent to worker: `Synthesize`, `Cancel`, `SetLogLevel`, `SetText`, `Shutdown`. Worker to parent: `Ready` or
`LoadFailed` once, then `Heartbeat`, `Counted`, `Chunk`, and for every job exactly one of `Done`, `Failed`, `Cancelled`.
A job's stream is free again when that last message arrives, not when `Cancel` was sent.

numpy is imported for the types alone: a worker unpickles its `EngineConfig` before the thread counts are set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


END_OF_PROMPT = "<|endofprompt|>"
"""What ends an instruction, or a system prompt, in the model's input."""
SOUNDS = (
    *("[breath]", "<strong>", "</strong>", "[noise]", "[laughter]", "[cough]", "[clucking]", "[accent]"),
    *("[quick_breath]", "<laughter>", "</laughter>", "[hissing]", "[sigh]", "[vocalized-noise]", "[lipsmack]", "[mn]"),
)
"""Sounds and stresses that a text may hold, each one token of the models: no reading touches them. In the order of
their ids (upstream: `CosyVoice2Tokenizer`)."""
DEFAULT_STREAMS = 10
"""Streams at once in one of our engines, where the settings leave it to them."""


def split_system_prompt(text: str) -> tuple[str, str]:
    """What stands before the first `END_OF_PROMPT`, "" where there is none, and what follows.

    The former is never spoken: it is CosyVoice3's system prompt, as upstream's own inputs have it.
    """
    before, mark, after = text.partition(END_OF_PROMPT)
    return (before, after) if mark else ("", text)


class Mode(StrEnum):
    """How a request conditions the model; the names are CosyVoice2's."""

    ZERO_SHOT = "zero_shot"
    CROSS_LINGUAL = "cross_lingual"
    INSTRUCT2 = "instruct2"


class FailureCode(StrEnum):
    """Why a worker could not finish a job."""

    UNSPEAKABLE_TEXT = "unspeakable_text"
    INVALID_PROMPT = "invalid_prompt"
    ENGINE_FAILED = "engine_failed"


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A voice prompt, already decoded and checked.

    samples: [n] float32, mono, in [-1, 1], at `sample_rate` Hz (the upload's own rate, 48000 at most).
    digest: hash of samples and rate, so that engines can cache by (digest, prompt text).
    """

    samples: NDArray[np.float32]
    sample_rate: int
    digest: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)
class TextConfig:
    """How texts are read: the settings' `[text]` section. language: a BCP 47 tag, "" leaves it to each text.

    lexicon: the path of the file, "" where there is none.
    """

    normaliser: str = "cosyserve"
    language: str = ""
    markup: str = "strip"
    lexicon: str = ""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What an engine's factory is given; the fields are the settings' `[model]` section, and `model_marks` of `[text]`.

    engine: `demo`, `cosyvoice`, `native` or `package.module:factory`.
    device: `auto`, `cuda` or `cpu`; for `cpu` the worker sees no GPU.
    pinned_to: the worker's own GPU (for the log), or None; inside the worker the GPU is always index 0.
    sharing: how many workers, this one among them, share that GPU's memory or, without one, the machine's.
    """

    engine: str
    model_dir: str
    source_dir: str = ""
    precision: str = "auto"
    language_model: str = "auto"
    language_model_file: str = "llm.pt"
    tensorrt: str = "auto"
    vllm: bool = False
    streams: int = 0
    state_budget_gib: float = 0.0
    model_marks: bool = True
    text: TextConfig = TextConfig()
    device: str = "auto"
    pinned_to: str | None = None
    sharing: int = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace, as headers of W3C's Trace Context: `traceparent` of version 00, and `tracestate`."""

    parent: str
    state: str = ""

    @property
    def id(self) -> str:
        """The trace's own, of 32 hexadecimal digits."""
        return self.parent.split("-")[1]


@dataclass(frozen=True, slots=True)
class Synthesize:
    """One job. `prompt` is never None: the front end has put the default prompt in where none was sent.

    text, prompt_text: may begin with a system prompt, see `split_system_prompt`.
    instruction: ends in `END_OF_PROMPT` in the mode instruct2, empty in the others.
    prompt_text: the prompt's transcript in the mode zero_shot, empty in the others.
    speed: 1.0 is the model's own pace, 2.0 twice as fast. seed: 0 to 2**31 - 1, always set.
    language: a BCP 47 tag for what the text does not say by itself, or "". pronunciations: written and spoken.
    trace: for an engine that passes it on or makes spans of its own; None where the request is in none.
    """

    job_id: int
    text: str
    mode: Mode
    instruction: str
    prompt_text: str
    prompt: Prompt
    speed: float
    seed: int
    language: str = ""
    pronunciations: tuple[tuple[str, str], ...] = ()
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop this job at the engine's next step."""

    job_id: int


@dataclass(frozen=True, slots=True)
class SetLogLevel:
    """What the log leaves out from now on. level: as in the settings."""

    level: str


@dataclass(frozen=True, slots=True)
class SetText:
    """How texts are read from the next job on; the lexicon's file is read again. The normaliser stays what it is."""

    text: TextConfig


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Close the engine and exit."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is loaded and warm. sample_rate: Hz of its audio. streams: how many jobs it runs at once."""

    model_type: str
    sample_rate: int
    streams: int
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The engine cannot load as configured, and trying again would not help. message: one line with the remedy."""

    message: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An engine has made a step; every other message counts as a sign of life too."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the engine has counted since it was loaded: events by name. Only ever more."""

    counters: Mapping[str, int]


class Chunk(NamedTuple):
    """pcm: 16-bit little-endian mono at the engine's sample rate.

    A tuple, since thousands of them are pickled a second, and a frozen dataclass takes three times as long.
    """

    job_id: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """timings: seconds by stage, as the engine names them."""

    job_id: int
    timings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Failed:
    """message: for the client; the trace is in the worker's log."""

    job_id: int
    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job has stopped because it was told to."""

    job_id: int


ToWorker = Synthesize | Cancel | SetLogLevel | SetText | Shutdown
FromWorker = Ready | LoadFailed | Heartbeat | Counted | Chunk | Done | Failed | Cancelled
