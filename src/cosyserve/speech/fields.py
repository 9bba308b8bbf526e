"""One form field at a time: what it may hold, and what a client is told where it holds something else."""

import math
from collections.abc import Mapping

from starlette.datastructures import UploadFile

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import InvalidField

Form = Mapping[str, str | UploadFile]
"""A form as it came: texts and files by the fields' names."""
SHOWN_CHARS = 32
"""How much of a wrong value an error repeats."""


def text_field(form: Form, name: str) -> str:
    """A text field, stripped; "" where it is absent."""
    value = form.get(name, "")
    if isinstance(value, UploadFile):
        if value.filename or value.size:
            raise InvalidField(f"{name} was sent as a file: send it as a text field", param=name)
        return ""
    return value.strip()


async def file_field(form: Form, name: str) -> bytes | None:
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


def number_field(form: Form, name: str, least: float, most: float) -> float | None:
    """A number from `least` to `most`; None where it is absent."""
    value = text_field(form, name)
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
    value = text_field(form, name)
    if not value:
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= 10 and least <= int(value) <= most):
        raise InvalidField(f"{name} is {_shown(value)}: a whole number from {least} to {most} is needed", param=name)
    return int(value)


def format_field(form: Form, name: str) -> AudioFormat:
    """An audio format by its name; raw PCM where it is absent."""
    value = text_field(form, name) or AudioFormat.PCM
    try:
        return AudioFormat(value.lower())
    except ValueError:
        known = ", ".join(AudioFormat)
        raise InvalidField(f"{name} is {_shown(value)}: one of {known} is needed", param=name) from None


def _shown(value: str) -> str:
    return repr(value[:SHOWN_CHARS])
