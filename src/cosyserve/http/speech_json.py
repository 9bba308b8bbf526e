"""The body of OpenAI's POST /v1/audio/speech: what may be in it, and the request that it stands for."""

import base64
import binascii
import re
from typing import Annotated

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from cosyserve.audio.formats import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, AnyCase, AudioFormat
from cosyserve.errors import InvalidField
from cosyserve.http.json_body import read_json
from cosyserve.speech.fields import bounded
from cosyserve.speech.intake import Intake
from cosyserve.speech.requests import MAX_SEED, MAX_SPEED, MIN_SPEED, Draft, FieldNames
from cosyserve.speech.wording import MAX_PRONUNCIATIONS, MAX_TAG_CHARS, checked_pronunciations, language_tag
from cosyserve.voices.names import MAX_SENT_CHARS

MAX_INPUT_CHARS = 4096
NAMES = FieldNames(text="input", instruction="instructions", prompt_text="ref_text", prompt="ref_audio", voice="voice")
_DATA_URL = re.compile(r"data:[^,]{0,200}?(?P<base64>;base64)?,", re.ASCII | re.IGNORECASE)
_OTHER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:")
_SPACE = b" \t\r\n\v\f"


class StreamFormat(AnyCase):
    """How the audio is wrapped: in nothing, or in server-sent events."""

    AUDIO = "audio"
    SSE = "sse"


class VoiceId(BaseModel):
    """A voice as an object."""

    model_config = ConfigDict(strict=True)

    id: str = Field(max_length=MAX_SENT_CHARS)


class SpeechBody(BaseModel):
    """OpenAI's fields, then ours. Fields of other names are ignored, and null is as good as absent."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True, title="SpeechBody")

    input: str = Field(min_length=1, max_length=MAX_INPUT_CHARS)
    """What to say."""
    model: str | None = Field(None, max_length=256)
    """Any name: a server has one model, and this field selects nothing."""
    voice: Annotated[str, Field(max_length=MAX_SENT_CHARS)] | VoiceId | None = None
    """A stored voice, `default`, or one of OpenAI's names."""
    response_format: AudioFormat | None = None
    """The answer's format; mp3 where it is absent."""
    speed: float | None = Field(None, ge=MIN_SPEED, le=MAX_SPEED)
    """Pace: 1 is the model's own."""
    instructions: str | None = None
    """How to say it."""
    stream_format: StreamFormat | None = None
    """`audio` is the audio itself, as it is made; `sse` wraps it in server-sent events."""
    ref_audio: str | None = None
    """A recording of the voice to speak with, instead of `voice`: base64, or a data: URL of it."""
    ref_text: str | None = None
    """What is said in `ref_audio`."""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """The same seed gives the same audio."""
    sample_rate: int | None = Field(None, ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)
    """Of the answer, in Hz."""
    language: str | None = Field(None, max_length=MAX_TAG_CHARS)
    """Of what the text does not tell by itself, such as a bare number: en, zh, pt-BR."""
    pronunciations: dict[str, str] | None = Field(None, max_length=MAX_PRONUNCIATIONS)
    """How words of your own are spoken, written to spoken."""


async def read_speech_body(body: bytes | bytearray, max_text_chars: int, intake: Intake) -> Draft:
    """What it says; `intake` holds as much of it afterwards as the draft does.

    Raises MalformedJson, InvalidField, and what `Intake.take` does.
    """
    # What it reads may be as long as what was read.
    intake.take(len(body))
    said = await read_json(SpeechBody, body)
    instruction = bounded(said.instructions or "", NAMES.instruction, max_text_chars)
    prompt_text = bounded(said.ref_text or "", NAMES.prompt_text, max_text_chars)
    prompt = None
    if said.ref_audio:
        prompt = await anyio.to_thread.run_sync(decode_audio, said.ref_audio)
    voice = said.voice.id if isinstance(said.voice, VoiceId) else said.voice
    draft = Draft(
        names=NAMES,
        text=said.input.strip(),
        instruction=instruction,
        prompt_text=prompt_text,
        prompt=prompt,
        voice=(voice or "").strip(),
        format=AudioFormat.MP3 if said.response_format is None else said.response_format,
        speed=1.0 if said.speed is None else said.speed,
        seed=said.seed,
        sample_rate=said.sample_rate,
        events=said.stream_format is StreamFormat.SSE,
        language=language_tag((said.language or "").strip(), "language"),
        pronunciations=checked_pronunciations(said.pronunciations or {}, "pronunciations"),
    )
    intake.settle(draft.held_bytes)
    return draft


def decode_audio(text: str, name: str = NAMES.prompt) -> bytes:
    """Base64, bare or in a data: URL, to the file in it. Raises InvalidField."""
    text = text.strip()
    data = _DATA_URL.match(text)
    if (data is None and _OTHER_URL.match(text)) or (data is not None and data["base64"] is None):
        raise InvalidField(
            f"{name} is a URL that is not fetched: send the file in base64, or a data: URL with ;base64", param=name
        )
    encoded = text[data.end() :] if data else text
    try:
        # Not `split`: a space after each letter would make a list of all of them.
        audio = base64.b64decode(encoded.encode("ascii").translate(None, _SPACE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidField(f"{name} is not base64: {error}", param=name) from error
    if not audio:
        raise InvalidField(f"{name} is an empty file", param=name)
    return audio
