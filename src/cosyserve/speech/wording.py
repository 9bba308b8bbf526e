"""What a client says of how its text is to be read: in which language, and how words of its own are spoken."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from cosyserve.errors import InvalidField
from cosyserve.settings.sections import SettingsError
from cosyserve_words.lexicon import load
from cosyserve_words.spans import Unreadable

MAX_TAG_CHARS = 35
"""What RFC 5646 says a language tag should always have room for."""
MAX_PRONUNCIATIONS = 100
MAX_WRITTEN_CHARS = 64
MAX_SPOKEN_CHARS = 256
MAX_JSON_CHARS = 64 * 1024

_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*", re.ASCII)

Pronunciations = tuple[tuple[str, str], ...]
"""Written and spoken, in the order in which they were given."""


def chars_of(pronunciations: Pronunciations) -> int:
    """How many characters they have."""
    return sum(len(written) + len(spoken) for written, spoken in pronunciations)


def language_tag(value: str, name: str) -> str:
    """A BCP 47 tag, "" where there is none. Raises InvalidField."""
    if value and not (len(value) <= MAX_TAG_CHARS and _TAG.fullmatch(value)):
        raise InvalidField(f"{name} is {value[:MAX_TAG_CHARS]!r}: a tag like en, zh or pt-BR is needed", param=name)
    return value


def pronunciations_field(value: str, name: str) -> Pronunciations:
    """A form's field: a JSON object, written to spoken; "" is none. Raises InvalidField."""
    if not value:
        return ()
    try:
        said = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidField(
            f'{name} is not JSON: an object like {{"nginx": "engine x"}} is needed', param=name
        ) from error
    if not isinstance(said, dict):
        raise InvalidField(f'{name} is no JSON object: one like {{"nginx": "engine x"}} is needed', param=name)
    return checked_pronunciations(said, name)


def check_lexicon(path: Path | None) -> None:
    """Read it, to know that it can be. Raises SettingsError."""
    try:
        if path is not None:
            load(path)
    except (Unreadable, OSError) as error:
        raise SettingsError(f"text.lexicon cannot be read: {error}; mend it, or unset text.lexicon") from error


def checked_pronunciations(said: Mapping[str, object], name: str) -> Pronunciations:
    """Those of an object, checked. Raises InvalidField."""
    if len(said) > MAX_PRONUNCIATIONS:
        raise InvalidField(f"{name} has {len(said)} entries: the limit is {MAX_PRONUNCIATIONS}", param=name)
    pairs = []
    for written, spoken in said.items():
        if not (len(written.strip()) > 0 and len(written) <= MAX_WRITTEN_CHARS):
            raise InvalidField(f"{name} has a key that is empty or over {MAX_WRITTEN_CHARS} characters", param=name)
        if not (isinstance(spoken, str) and len(spoken) <= MAX_SPOKEN_CHARS):
            raise InvalidField(
                f"{name}: what {written!r} is spoken as must be a text of at most {MAX_SPOKEN_CHARS} characters",
                param=name,
            )
        pairs.append((written.strip(), spoken))
    return tuple(pairs)
