"""A form to a SpeechRequest: which fields there are, what they may hold, which mode they ask for."""

import math
import unicodedata
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cosyserve.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, AudioFormat
from cosyserve.errors import (
    InvalidField,
    MalformedForm,
    MissingPrompt,
    TextTooLong,
    UnspeakableText,
    UploadStalled,
    UploadTooLarge,
)
from cosyserve.prompts import decode_prompt
from cosyserve.protocol import Mode, Prompt

END_OF_PROMPT = "<|endofprompt|>"
MIN_SPEED, MAX_SPEED = 0.25, 4.0
MAX_SEED = 2**31 - 1
MAX_FORM_PARTS = 100

Form = Mapping[str, str | UploadFile]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request gets that does not say."""

    instruction: str
    prompt: Prompt | None


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A checked request. seed: None draws one. sample_rate: Hz of the answer, None for the model's own."""

    text: str
    mode: Mode
    instruction: str
    prompt_text: str
    prompt: Prompt
    format: AudioFormat = AudioFormat.PCM
    speed: float = 1.0
    seed: int | None = None
    sample_rate: int | None = None


async def read_form(request: Request, max_bytes: int, stall_timeout_s: float) -> dict[str, str | UploadFile]:
    """Parse multipart/form-data or application/x-www-form-urlencoded; of a repeated field the last one counts.

    Raises UploadTooLarge before the body is read whole, UploadStalled, MalformedForm.
    """
    _check_declared_length(request.headers, max_bytes)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        body = b"".join([chunk async for chunk in _limited(request, max_bytes, stall_timeout_s)])
        return _parse_urlencoded(body)
    if kind == "multipart/form-data":
        return dict(await _parse_multipart(request, max_bytes, stall_timeout_s))
    raise MalformedForm(
        f"the body is {kind or 'of no stated type'}: send multipart/form-data or application/x-www-form-urlencoded"
    )


def _check_declared_length(headers: Headers, max_bytes: int) -> None:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(f"the request is larger than {max_bytes} bytes (server.max_upload_bytes)")


async def _limited(request: Request, max_bytes: int, stall_timeout_s: float) -> AsyncGenerator[bytes, None]:
    """The body, of a client that goes on sending and knows when to stop."""
    body = request.stream()
    size = 0
    while True:
        try:
            with anyio.fail_after(stall_timeout_s):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadStalled(f"nothing of the request's body came for {stall_timeout_s:g} s") from None
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _parse_urlencoded(body: bytes) -> dict[str, str | UploadFile]:
    # Decoded before the percent signs are: `curl -d text=你好` sends UTF-8 as it is.
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FORM_PARTS, errors="strict")
    except ValueError as error:
        raise MalformedForm("the body is not a UTF-8 urlencoded form") from error
    return dict(pairs)


class _WholeForm(MultiPartParser):
    """Knows whether the closing boundary has come; without it, a form cut short would pass for one with less in it."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _parse_multipart(request: Request, max_bytes: int, stall_timeout_s: float) -> FormData:
    parser = _WholeForm(
        request.headers,
        _limited(request, max_bytes, stall_timeout_s),
        max_files=MAX_FORM_PARTS,
        max_fields=MAX_FORM_PARTS,
        # The whole body is bounded already, and text over its limit has an answer of its own.
        max_part_size=max_bytes,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedForm(f"the multipart form is broken: {error.message}") from error
    if not parser.ended:
        raise MalformedForm("the multipart form is broken: it ends before its closing boundary")
    return form


async def parse_speech_request(form: Form, defaults: Defaults, max_text_chars: int) -> SpeechRequest:
    """Check every field, cheap ones first; the prompt is decoded off the event loop. Raises RequestRejected."""
    text = _speakable(_text(form, "text"), max_text_chars)
    instruction = _text(form, "instruction")
    prompt_text = _text(form, "prompt_text")
    for name, value in (("instruction", instruction), ("prompt_text", prompt_text)):
        if len(value) > max_text_chars:
            raise TextTooLong(f"{name} has {len(value)} characters: the limit is {max_text_chars}", param=name)
    format_ = _format(form)
    speed = _number(form, "speed", MIN_SPEED, MAX_SPEED)
    seed = _whole_number(form, "seed", 0, MAX_SEED)
    sample_rate = _whole_number(form, "sample_rate", MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)
    if voice := _text(form, "voice"):
        raise InvalidField(f"there is no voice named {voice!r}", param="voice")
    upload = await _upload(form, "prompt_wav")
    prompt = defaults.prompt if upload is None else await anyio.to_thread.run_sync(decode_prompt, upload)
    if prompt is None:
        raise MissingPrompt("No prompt_wav provided and default file not found", param="prompt_wav")
    mode, instruction = choose_mode(instruction, prompt_text, upload is not None, defaults.instruction)
    return SpeechRequest(
        text=text,
        mode=mode,
        instruction=instruction,
        prompt_text=prompt_text if mode is Mode.ZERO_SHOT else "",
        prompt=prompt,
        format=format_,
        speed=1.0 if speed is None else speed,
        seed=seed,
        sample_rate=sample_rate,
    )


def choose_mode(instruction: str, prompt_text: str, has_prompt: bool, default_instruction: str) -> tuple[Mode, str]:
    """The mode table. Returns the mode and the instruction, marked, that it uses ("" where it uses none).

    instruction given: instruct2 (it does not use prompt_text). Else prompt_text given: zero_shot. Else a prompt given:
    cross_lingual. Nothing given: the default instruction, and without one the default prompt alone.
    """
    if not instruction and prompt_text:
        return Mode.ZERO_SHOT, ""
    if not instruction and not has_prompt:
        instruction = default_instruction.strip()
    if not instruction:
        return Mode.CROSS_LINGUAL, ""
    return Mode.INSTRUCT2, instruction if END_OF_PROMPT in instruction else instruction + END_OF_PROMPT


def _speakable(text: str, max_chars: int) -> str:
    if not text:
        raise InvalidField("text is missing or empty", param="text")
    if len(text) > max_chars:
        raise TextTooLong(f"text has {len(text)} characters: the limit is {max_chars}", param="text")
    if not any(unicodedata.category(character)[0] in "LN" for character in text):
        raise UnspeakableText("text has neither letters nor digits: nothing can be spoken", param="text")
    return text


def _text(form: Form, name: str) -> str:
    """A text field, stripped; "" where it is absent."""
    value = form.get(name, "")
    if isinstance(value, UploadFile):
        if value.filename or value.size:
            raise InvalidField(f"{name} was sent as a file: send it as a text field", param=name)
        return ""
    return value.strip()


async def _upload(form: Form, name: str) -> bytes | None:
    """A file's content; None where it is absent: a browser sends an empty part for a file that was not picked."""
    value = form.get(name, "")
    if not isinstance(value, UploadFile):
        if value.strip():
            raise InvalidField(f"{name} was sent as text: send the file itself (curl: -F {name}=@FILE)", param=name)
        return None
    content = await value.read()
    if not content and value.filename:
        raise InvalidField(f"{name} is an empty file", param=name)
    return content or None


def _number(form: Form, name: str, least: float, most: float) -> float | None:
    value = _text(form, name)
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise InvalidField(f"{name} is {value[:32]!r}: a number from {least:g} to {most:g} is needed", param=name)
    return number


def _whole_number(form: Form, name: str, least: int, most: int) -> int | None:
    value = _text(form, name)
    if not value:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= 10 and least <= int(value) <= most):
        raise InvalidField(f"{name} is {value[:32]!r}: a whole number from {least} to {most} is needed", param=name)
    return int(value)


def _format(form: Form) -> AudioFormat:
    value = _text(form, "format") or AudioFormat.PCM
    try:
        return AudioFormat(value.lower())
    except ValueError:
        known = ", ".join(AudioFormat)
        raise InvalidField(f"format is {value[:32]!r}: one of {known} is needed", param="format") from None
