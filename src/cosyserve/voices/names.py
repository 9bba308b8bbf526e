"""What a voice may be called, and when two names are one.

A name goes into URLs, logs and menus, and people choose by the look of it. So it has letters that are told apart at
sight, and one that differs from another by case, width or look alone is the same name. It never becomes part of a
path: files are named by a hash (`file_stem`).
"""

import hashlib
import unicodedata

from cosyserve.errors import InvalidVoiceName

DEFAULT_VOICE = "default"
STOCK_VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""OpenAI's: the default voice answers to them, as long as no stored voice has taken the name."""

MAX_NAME_CHARS = 64
MAX_SENT_CHARS = 4 * MAX_NAME_CHARS
"""Of a name as it is sent: Hangul may come in three letters a syllable."""
_INNER_MARKS = frozenset("-_.")
_SCRIPTS = ("CJK UNIFIED IDEOGRAPH", "HIRAGANA LETTER", "KATAKANA LETTER", "KATAKANA-HIRAGANA", "HANGUL SYLLABLE")
# Katakana that look like a Chinese character or like hiragana.
_ALIKE = str.maketrans("ロカタニハトエオーヘベペリ", "口力夕二八卜工才一へべぺり")


def clean_name(name: str, param: str = "name") -> str:
    """The name as it is kept. Raises InvalidVoiceName, saying what is wrong with it."""
    if len(name) > MAX_SENT_CHARS:
        raise _too_long(name, param)
    name = unicodedata.normalize("NFKC", name.strip())
    if not name:
        raise InvalidVoiceName(f"{param} is missing or empty", param=param)
    if len(name) > MAX_NAME_CHARS:
        raise _too_long(name, param)
    if not (_is_letter(name[0]) and _is_letter(name[-1])):
        raise InvalidVoiceName(f"{param} must begin and end with a letter or a digit", param=param)
    if not all(_is_letter(character) or character in _INNER_MARKS for character in name):
        raise InvalidVoiceName(
            f"{param} may hold Latin letters without accents, digits, Chinese, Japanese and Korean characters, "
            "and - _ . between them",
            param=param,
        )
    if name_key(name) == DEFAULT_VOICE:
        raise InvalidVoiceName(f"{DEFAULT_VOICE!r} is the configured voice: choose another name", param=param)
    return name


def name_key(name: str) -> str:
    """Equal for names that count as one; "" for one that is too long to be a voice's, which is nobody's."""
    if len(name) > MAX_SENT_CHARS:
        return ""
    return unicodedata.normalize("NFKC", name.strip()).casefold().translate(_ALIKE)


def file_stem(name: str) -> str:
    """What the voice's file is called, without its suffix: safe on every file system."""
    return hashlib.blake2b(name_key(name).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _too_long(name: str, param: str) -> InvalidVoiceName:
    return InvalidVoiceName(f"{param} has {len(name)} characters: the limit is {MAX_NAME_CHARS}", param=param)


def _is_letter(character: str) -> bool:
    if character.isascii():
        return character.isalnum()
    return unicodedata.name(character, "").startswith(_SCRIPTS)
