"""What every engine does to a user's text: leave out what only a machine could have meant, cut what is too long."""

import re
import unicodedata
from collections.abc import Callable, Iterator

_MARKER = re.compile(r"<\|.*?\|>", re.DOTALL)
_HALF_MARKER = re.compile(r"<\||\|>")
_PICTOGRAPHS = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe00-\ufe0f\u20e3\U000e0000-\U000e007f]+")
_UNSEEN = frozenset({"Cf", "Cs", "Co", "Cn"})
SENTENCE_END = re.compile(r"(?<=[。！？!?；;])|(?<=\.)(?=\s)")
PAUSE = re.compile(r"(?<=[，,、；;：:…])")
SPACE = re.compile(r"(?<=\s)")


def clean(text: str) -> str:
    """Without what only a machine could have meant; white space in single spaces, none at the ends."""
    kept = "".join(_visible(char) for char in text)
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
        middle = len(text) // 2
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
