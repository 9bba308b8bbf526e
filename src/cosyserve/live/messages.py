"""What goes over the WebSocket as JSON: the client's messages, checked, and the server's."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cosyserve.audio.formats import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, AudioFormat, check_sample_rate
from cosyserve.errors import InvalidField, MalformedMessage, ServiceError
from cosyserve.speech.fields import bounded
from cosyserve.speech.json_text import MAX_MARKS, sprawls, without_halves
from cosyserve.speech.requests import MAX_SEED, MAX_SPEED, MIN_SPEED, Draft, FieldNames
from cosyserve.speech.wording import MAX_PRONUNCIATIONS, MAX_TAG_CHARS, checked_pronunciations, language_tag
from cosyserve.voices.names import MAX_SENT_CHARS

NAMES = FieldNames(instruction="instructions", prompt_text="ref_text", prompt="ref_audio")
Message = dict[str, Any]


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)


class SessionConfig(_Fields):
    """How to speak from the next clause on. Each one replaces the last; fields of other names are ignored."""

    voice: str | None = Field(None, max_length=MAX_SENT_CHARS)
    """A stored voice, `default`, or one of OpenAI's names."""
    response_format: AudioFormat | None = None
    """Of the binary frames; pcm where it is absent."""
    sample_rate: int | None = Field(None, ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)
    """Of the audio, in Hz; the model's where it is absent."""
    speed: float | None = Field(None, ge=MIN_SPEED, le=MAX_SPEED)
    """Pace: 1 is the model's own."""
    instructions: str | None = None
    """How to say it."""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """The same seed and the same clauses give the same audio."""
    language: str | None = Field(None, max_length=MAX_TAG_CHARS)
    """Of what the text does not tell by itself, such as a bare number: en, zh, pt-BR."""
    pronunciations: dict[str, str] | None = Field(None, max_length=MAX_PRONUNCIATIONS)
    """How words of your own are spoken, written to spoken."""
    ref_audio: None = None
    """Not here: store a voice first."""


class InputText(_Fields):
    """More text of the utterance; the first one begins it."""

    text: str


@dataclass(frozen=True, slots=True)
class InputDone:
    """The utterance's text is complete."""


@dataclass(frozen=True, slots=True)
class InputCancel:
    """Be silent now, and forget the utterance."""


ClientMessage = SessionConfig | InputText | InputDone | InputCancel

_WITH_FIELDS: dict[str, type[SessionConfig | InputText]] = {"session.config": SessionConfig, "input.text": InputText}
_BARE: dict[str, type[InputDone | InputCancel]] = {"input.done": InputDone, "input.cancel": InputCancel}


def parse(text: str) -> ClientMessage:
    """One text frame. Raises MalformedMessage, InvalidField."""
    raw = without_halves(text.encode())
    if sprawls(raw):
        raise MalformedMessage(f"the message has more than {MAX_MARKS} commas, colons and brackets")
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage("the message is not JSON") from error
    if not isinstance(message, dict):
        raise MalformedMessage("the message is not a JSON object")
    kind = message.get("type")
    if isinstance(kind, str) and kind in _BARE:
        return _BARE[kind]()
    if not isinstance(kind, str) or kind not in _WITH_FIELDS:
        known = ", ".join([*_WITH_FIELDS, *_BARE])
        raise MalformedMessage(f"type is {str(kind)[:32]!r}: one of {known} is needed", param="type")
    try:
        # As JSON, in which a format is a string and still strictly checked.
        return _WITH_FIELDS[kind].model_validate_json(raw)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if not problem["loc"]:
        raise MalformedMessage(f"the message is not JSON that can be read: {problem['msg']}")
    name, reason = str(problem["loc"][0]), problem["msg"]
    raise InvalidField(f"{name}: {reason[0].lower()}{reason[1:]}", param=name)


def as_draft(config: SessionConfig, max_text_chars: int) -> Draft:
    """A request without its text. Raises InvalidField where the format cannot carry the rate, TextTooLong."""
    audio_format = config.response_format or AudioFormat.PCM
    check_sample_rate(audio_format, config.sample_rate)
    return Draft(
        names=NAMES,
        text="",
        instruction=bounded(config.instructions or "", NAMES.instruction, max_text_chars),
        voice=(config.voice or "").strip(),
        format=audio_format,
        speed=1.0 if config.speed is None else config.speed,
        seed=config.seed,
        sample_rate=config.sample_rate,
        language=language_tag((config.language or "").strip(), "language"),
        pronunciations=checked_pronunciations(config.pronunciations or {}, "pronunciations"),
    )


def error_message(error: ServiceError, utterance: int | None = None) -> Message:
    """What went wrong, in the shape of every error. utterance: the one that ends with it; None if none does."""
    return {"type": "error", **error.body(), "utterance": utterance}
