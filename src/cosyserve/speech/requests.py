"""What a client asks for, from whichever surface: first as it said it, then checked and complete."""

import unicodedata
from dataclasses import dataclass
from typing import Protocol

from cosyserve.audio.formats import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, AudioFormat
from cosyserve.errors import InvalidField, MissingPrompt, UnspeakableText
from cosyserve.protocol import END_OF_PROMPT, Mode, Prompt, split_system_prompt
from cosyserve.speech.fields import (
    Form,
    check_length,
    file_field,
    format_field,
    number_field,
    text_field,
    whole_number_field,
)
from cosyserve.speech.intake import BYTES_PER_CHAR, Intake
from cosyserve.speech.modes import Speaker, choose_mode
from cosyserve.speech.wording import (
    MAX_JSON_CHARS,
    MAX_TAG_CHARS,
    Pronunciations,
    chars_of,
    language_tag,
    pronunciations_field,
)
from cosyserve.voices.names import MAX_SENT_CHARS
from cosyserve.voices.prompts import Reserve

MIN_SPEED, MAX_SPEED = 0.25, 4.0
MAX_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What one surface calls the fields; errors name them so."""

    text: str = "text"
    instruction: str = "instruction"
    prompt_text: str = "prompt_text"
    prompt: str = "prompt_wav"
    voice: str = "voice"

    def of(self, param: str | None) -> str | None:
        """What this surface calls a field that an error calls by /synthesize's name."""
        return {"text": self.text, "prompt_wav": self.prompt}.get(param or "", param)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a client said: each field of the right kind by itself, nothing looked up or decoded yet.

    "" and None stand for what it did not say. prompt: an audio file. mode: the one that the route stands for, if any.
    """

    names: FieldNames
    text: str
    instruction: str = ""
    prompt_text: str = ""
    prompt: bytes | None = None
    voice: str = ""
    mode: Mode | None = None
    format: AudioFormat = AudioFormat.PCM
    speed: float = 1.0
    seed: int | None = None
    sample_rate: int | None = None
    events: bool = False
    language: str = ""
    pronunciations: Pronunciations = ()

    @property
    def held_bytes(self) -> int:
        """What of it takes memory."""
        texts = len(self.text) + len(self.instruction) + len(self.prompt_text)
        return BYTES_PER_CHAR * (texts + chars_of(self.pronunciations)) + len(self.prompt or b"")


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A checked request. seed: None draws one. sample_rate: Hz of the answer, None for the model's own.

    system_prompt: what stood before the text (`split_system_prompt`), "" where nothing did.
    voice: the voice's name, for the log; "" for a prompt that came with the request. events: the answer is a stream of
    server-sent events with the audio inside. names: what the client calls the fields. language: a tag, or "".
    """

    text: str
    mode: Mode
    instruction: str
    prompt_text: str
    prompt: Prompt
    format: AudioFormat = AudioFormat.PCM
    speed: float = 1.0
    seed: int | None = None
    sample_rate: int | None = None
    voice: str = ""
    events: bool = False
    names: FieldNames = FieldNames()
    system_prompt: str = ""
    language: str = ""
    pronunciations: Pronunciations = ()

    @property
    def marked_text(self) -> str:
        """The text as engines are given it, with the system prompt before it."""
        return f"{self.system_prompt}{END_OF_PROMPT}{self.text}" if self.system_prompt else self.text

    @property
    def held_bytes(self) -> int:
        """What of it the client handed in: its texts, and the prompt where that came with the request."""
        texts = len(self.text) + len(self.instruction) + len(self.prompt_text) + len(self.system_prompt)
        said = BYTES_PER_CHAR * (texts + chars_of(self.pronunciations))
        return said + (0 if self.voice else self.prompt.samples.nbytes)


class Speakers(Protocol):
    """Who may be asked for, by name or by a recording."""

    async def find(self, name: str, param: str) -> Speaker:
        """The speaker of that name; "" is the default one. Raises UnknownVoice."""

    async def recorded(self, audio: bytes, param: str, reserve: Reserve | None = None) -> Speaker:
        """A speaker without a name, from a sound file. Raises InvalidPrompt."""


async def read_draft(form: Form, names: FieldNames, max_text_chars: int, mode: Mode | None = None) -> Draft:
    """Read every field of a form, each text's length before anything else of it. Raises InvalidField."""
    speed = number_field(form, "speed", MIN_SPEED, MAX_SPEED)
    return Draft(
        names=names,
        text=text_field(form, names.text, max_text_chars),
        instruction=text_field(form, names.instruction, max_text_chars),
        prompt_text=text_field(form, names.prompt_text, max_text_chars),
        prompt=await file_field(form, names.prompt),
        voice=text_field(form, names.voice, MAX_SENT_CHARS),
        mode=mode,
        format=format_field(form, "format"),
        speed=1.0 if speed is None else speed,
        seed=whole_number_field(form, "seed", 0, MAX_SEED),
        sample_rate=whole_number_field(form, "sample_rate", MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
        language=language_tag(text_field(form, "language", MAX_TAG_CHARS), "language"),
        pronunciations=pronunciations_field(text_field(form, "pronunciations", MAX_JSON_CHARS), "pronunciations"),
    )


async def complete(draft: Draft, speakers: Speakers, max_text_chars: int, intake: Intake) -> SpeechRequest:
    """Check what was said, cheap things first, and fill in what was not. Raises RequestRejected, Unavailable.

    A prompt that came with the request takes the voice's place, with all that the voice would have brought along.
    intake: holds the decoded prompt, from before it is decoded.
    """
    names = draft.names
    _check_speakable(draft.text, names.text, max_text_chars)
    system_prompt, text = split_system_prompt(draft.text)
    for name, value in ((names.instruction, draft.instruction), (names.prompt_text, draft.prompt_text)):
        check_length(value, name, max_text_chars, max_text_chars)
    speaker = await speakers.find(draft.voice, names.voice)
    if draft.prompt is not None:
        speaker = await speakers.recorded(draft.prompt, names.prompt, intake.take)
    if speaker.prompt is None:
        raise MissingPrompt("No prompt_wav provided and default file not found", param=names.prompt)
    conditioning = choose_mode(draft.instruction, draft.prompt_text, speaker, draft.mode)
    if conditioning is None:
        needed = names.prompt_text if draft.mode is Mode.ZERO_SHOT else names.instruction
        raise InvalidField(f"{needed} is missing or empty", param=needed)
    return SpeechRequest(
        text=text.strip(),
        mode=conditioning.mode,
        instruction=conditioning.instruction,
        prompt_text=conditioning.prompt_text,
        prompt=speaker.prompt,
        format=draft.format,
        speed=draft.speed,
        seed=draft.seed,
        sample_rate=draft.sample_rate,
        voice=speaker.name,
        events=draft.events,
        names=names,
        system_prompt=system_prompt,
        language=draft.language,
        pronunciations=draft.pronunciations,
    )


def _check_speakable(text: str, name: str, max_chars: int) -> None:
    if not text:
        raise InvalidField(f"{name} is missing or empty", param=name)
    check_length(text, name, max_chars, max_chars)
    if not any(unicodedata.category(character)[0] in "LN" for character in split_system_prompt(text)[1]):
        raise UnspeakableText(f"{name} has neither letters nor digits: nothing can be spoken", param=name)
