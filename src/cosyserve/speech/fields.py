"""One form field at a time: what it may hold, and what a client is told where it holds something else."""

import math
from collections.abc import Mapping

from starlette.datastructures import UploadFile

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import InvalidField, TextTooLong

Form = Mapping[str, str | UploadFile]
"""A form as it came: texts and files by the fields' names."""
SHOWN_CHARS = 32
"""How much of a wrong value an error repeats."""
SHORT_CHARS = 256
"""What a number or a word may have, white space included."""


def text_field(form: Form, name: str, max_chars: int) -> str:
    """A text field, stripped; "" where it is absent. Raises InvalidField, TextTooLong."""
    return bounded(_text(form, name), name, max_chars)


def bounded(text: str, name: str, max_chars: int) -> str:
    """The text, stripped. Its length is looked at before anything else is. Raises TextTooLong."""
    # White space around it may be as long as the text itself.
    check_length(text, name, 2 * max_chars, max_chars)
    text = text.strip()
    check_length(text, name, max_chars, max_chars)
    return text


def check_length(text: str, name: str, most: int, limit: int) -> None:
    """Raises TextTooLong, which tells the limit, where it has more than `most` characters."""
    if len(text) > most:
        raise TextTooLong(f"{name} has {len(text)} characters: the limit is {limit}", param=name)


async def file_field(form: Form, name: str) -> bytes | None:
    """A file's content; None where it is absent: a browser sends an empty part for a file that was not picked."""
    value = form.get(name, "")
    if not isinstance(value, UploadFile):
        if len(value) > SHORT_CHARS or value.strip():
            raise InvalidField(f"{name} was sent as text: send the file itself (curl: -F {name}=@FILE)", param=name)
        return None
    content = await value.read()
    await value.close()
    if not content and value.filename:
        raise InvalidField(f"{name} is an empty file", param=name)
    return content or None


def number_field(form: Form, name: str, least: float, most: float) -> float | None:
    """A number from `least` to `most`; None where it is absent."""
    value = _short_text(form, name)
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise InvalidField(f"{name} is {_shown(value)}: a number from {least:g} to {most:g} is needed", param=name)
    return number


def whole_number_field(form: Form, name: str, least: int, most: int) -> int | None:
    """A whole number from `least` to `most`, in decimal digits; None where it is absent."""
    value = _short_text(form, name)
    if not value:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= 10 and least <= int(value) <= most):
        raise InvalidField(f"{name} is {_shown(value)}: a whole number from {least} to {most} is needed", param=name)
    return int(value)


def format_field(form: Form, name: str) -> AudioFormat:
    """An audio format by its name; raw PCM where it is absent."""
    value = _short_text(form, name) or AudioFormat.PCM
    try:
        return AudioFormat(value)
    except ValueError:
        known = ", ".join(AudioFormat)
        raise InvalidField(f"{name} is {_shown(value)}: one of {known} is needed", param=name) from None


def _text(form: Form, name: str) -> str:
    """As it came."""
    value = form.get(name, "")
    if not isinstance(value, UploadFile):
        return value
    if value.filename or value.size:
        raise InvalidField(f"{name} was sent as a file: send it as a text field", param=name)
    return ""


def _short_text(form: Form, name: str) -> str:
    value = _text(form, name)
    if len(value) > SHORT_CHARS:
        raise InvalidField(f"{name} has {len(value)} characters: the limit is {SHORT_CHARS}", param=name)
    return value.strip()


def _shown(value: str) -> str:
    return repr(value[:SHOWN_CHARS])
