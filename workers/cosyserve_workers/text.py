"""What every engine does to a user's text: leave out what only a machine could have meant, cut what is too long."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

SYSTEM_PROMPT = "You are a helpful assistant."
"""What every prompt of CosyVoice3 begins with."""

_MARKER = re.compile(r"<\|.*?\|>", re.DOTALL)
_HALF_MARKER = re.compile(r"<\||\|>")
_PICTOGRAPHS = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe00-\ufe0f\u20e3\U000e0000-\U000e007f]+")
_UNSEEN = frozenset({"Cf", "Cs", "Co", "Cn"})
_PHONE, _HIDDEN = re.compile(r"\[(?:[A-Z]{2}[0-2]|phone)\]"), "[phone]"

INSIDE = r"[\x21-\x7e\d]"
"""What numbers with their separators, times, URLs, paths and addresses are made of: no border is between two."""
SENTENCE_END = re.compile(rf"(?<=[。！？；])|(?<=[!?;])(?!{INSIDE})|(?<=\.)(?=\s)(?!\s+\d)")
PAUSE = re.compile(rf"(?<=[，、：…])(?<!\d.(?=\d))|(?<=[,;:])(?!{INSIDE})(?<!\d.(?=\s+\d))")
SPACE = re.compile(r"(?<=\s)(?<!\d\s(?=\d))")
BORDERS = (SENTENCE_END, PAUSE, SPACE)
"""Where to cut a text, the best places first; none is in a number, a time, a URL, a path or an address."""
_MARK = r"\[[^\[\]\s]{1,20}\]"
_UNITS = (
    re.compile(rf"(?:{_MARK}|{INSIDE})+(?:(?<=\d)[\s，：](?=\d){INSIDE}+)*|.", re.DOTALL),
    re.compile(rf".*?(?:{_MARK}|[\W_])", re.DOTALL),
)
"""Between which to halve what has no border: characters and whole spans; in one long span, what ends in a mark."""


def clean(text: str) -> str:
    """Composed (NFC), without what only a machine could have meant; white space in single spaces, none at the ends."""
    kept = "".join(_visible(char) for char in unicodedata.normalize("NFC", text))
    return " ".join(without_markers(_PICTOGRAPHS.sub(" ", kept)).split())


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if category in _UNSEEN:
        return ""
    return " " if category in {"Cc", "Zl", "Zp"} else char


def without_markers(text: str) -> str:
    """Leave out `<|...|>`, whatever is in it, and halves of it: they steer the model and say nothing."""
    # Spaces take their place, so that the halves around one cannot become another.
    return _HALF_MARKER.sub(" ", _MARKER.sub(" ", text))


def shielded(text: str, marks: re.Pattern[str] = _PHONE) -> tuple[str, Callable[[str], str]]:
    """Hide phonemes like `[IY1]`, whose digits a normaliser would read aloud, behind a word in brackets.

    marks: what to hide, of `any_of`; phonemes alone otherwise. Returns the text for the normaliser, and what brings
    them back, in their order: called with its pieces one by one.
    """
    hidden = iter(marks.findall(text))
    return marks.sub(_HIDDEN, text), lambda piece: marks.sub(lambda found: next(hidden, found[0]), piece)


def any_of(marks: Iterable[str]) -> re.Pattern[str]:
    """What finds these in a text, for `shielded`: also the word that they are hidden behind."""
    return re.compile("|".join(map(re.escape, (_HIDDEN, *marks))))


def is_speakable(text: str) -> bool:
    """Whether there is a letter or a digit, in any script."""
    return any(unicodedata.category(char)[0] in "LN" for char in text)


def pack(text: str, borders: tuple[re.Pattern[str], ...], limit: int, size: Callable[[str], int]) -> Iterator[str]:
    """Cut `text` into parts of at most `limit`, as long as can be, at the first kind of border that will do.

    borders: patterns of no width, the best place to cut first; where none helps, a part is halved.
    """
    if size(text) <= limit:
        if text.strip():
            yield text
        return
    if not borders:
        middle = _middle(text)
        if not middle:
            yield text
            return
        yield from pack(text[:middle], (), limit, size)
        yield from pack(text[middle:], (), limit, size)
        return
    packed = ""
    for piece in borders[0].split(text):
        if packed and size(packed + piece) > limit:
            yield from pack(packed, borders[1:], limit, size)
            packed = ""
        packed += piece
    yield from pack(packed, borders[1:], limit, size)


def _middle(text: str) -> int:
    """Where to halve it."""
    half = len(text) // 2
    for unit in _UNITS:
        places = (found.end() for found in unit.finditer(text) if found.end() < len(text))
        nearest = min(places, key=lambda place: abs(place - half), default=0)
        if nearest:
            return nearest
    return half
