"""A piece of text to its surface: widths, composed letters, what is not seen, inline markup, the author's marks."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache

from cosyserve_words.markup import html, latex, markdown, marks
from cosyserve_words.spans import Options
from cosyserve_words.surface import Builder, Stretch, Surface

Handler = Callable[[re.Match[str], Builder, Options], bool]
"""Adds what a match comes to; False where it is none of its business."""

_OTHER_WIDTHS = {
    "　": " ", "￥": "¥", "￡": "£", "￠": "¢", "−": "-", "﹣": "-", "﹪": "%", "﹩": "$", "﹢": "+", "﹤": "<",
    "﹥": ">", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\t": " ",
}  # fmt: skip
_KEPT_WIDE = frozenset("！（），：；？．［］｛｝＂＇｀＿")
"""Marks of Chinese text keep their width: they are how it is written."""
FOLDED: Mapping[str, str] = {
    chr(wide): chr(wide - 0xFEE0) for wide in range(0xFF01, 0xFF5F) if chr(wide) not in _KEPT_WIDE
} | _OTHER_WIDTHS
_UNSEEN = frozenset({"Cf", "Cs", "Co", "Cn"})
_PLAIN = re.compile(r"[ -~\u00a1-\u00ac\u00ae-\u02ff\u0370-\u0377、-〟぀-゘ゞ-ヿ一-鿿가-힣！（），：；？‘’“”…—–]+")
"""What is taken as it stands, unless a mark that joins it follows."""
_SIGN = re.compile(r"[\\<!\[\]`*_~=$&]")
"""What all that is looked for begins with."""
_CLUSTER = re.compile("(?s:.)[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u0655\u3099\u309a\u1161-\u11ff]*")


def surface_of(text: str, piece: Stretch, end: int) -> Surface:
    """The surface of a piece of `text`, which ends at `end` where white space follows."""
    builder = Builder()
    if piece.instead is not None:
        builder.put(piece.instead, piece.start, piece.end)
        return builder.made()
    options = piece.options
    specials, handlers = _specials(options.kept, strip=options.markup == "strip", tags=piece.tags)
    plain = piece.start
    for sign in _SIGN.finditer(text, plain, end):
        found = specials.match(text, sign.start(), end) if sign.start() >= plain else None
        if found:
            _characters(text, plain, found.start(), builder)
            plain = found.start()
            if handlers[str(found.lastgroup)](found, builder, options):
                plain = found.end()
    _characters(text, plain, end, builder)
    return builder.made()


@lru_cache(maxsize=64)
def _specials(kept: frozenset[str], *, strip: bool, tags: bool) -> tuple[re.Pattern[str], dict[str, Handler]]:
    """What finds markup in a text, and who handles which of its groups."""
    kinds = list(marks.kinds(kept))
    if strip and tags:
        kinds += [*latex.KINDS, *markdown.KINDS, *html.KINDS]
    if strip or not tags:
        kinds.append(html.ENTITY)
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern, _ in kinds)), {
        name: handler for name, _, handler in kinds
    }


def _characters(text: str, start: int, end: int, builder: Builder) -> None:
    """Add characters in one width and composed; what is not seen counts for nothing."""
    place = start
    while place < end:
        plain = _PLAIN.match(text, place, end)
        # The last one of a plain run may be the base of a mark that comes next.
        if plain and plain.end() < end and len(plain[0]) > 1:
            builder.keep(plain[0][:-1], place)
            place = plain.end() - 1
        elif plain and plain.end() == end:
            builder.keep(plain[0], place)
            return
        else:
            cluster = _CLUSTER.match(text, place, end)
            assert cluster
            builder.put(_visible(cluster[0]), place, cluster.end())
            place = cluster.end()


def _visible(cluster: str) -> str:
    folded = FOLDED.get(cluster)
    if folded:
        return folded
    composed = unicodedata.normalize("NFC", cluster)
    return "".join(map(_one, composed))


def _one(char: str) -> str:
    if "\u3371" <= char <= "\u33df":  # units in one character, such as ㎏
        return unicodedata.normalize("NFKC", char)
    category = unicodedata.category(char)
    if category in _UNSEEN:
        return ""
    return " " if category in {"Cc", "Zs", "Zl", "Zp"} else FOLDED.get(char, char)
