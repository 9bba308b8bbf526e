"""A text in pieces of one line at most, and what is between them."""

import re
from collections.abc import Iterator
from dataclasses import replace

from cosyserve_words.markup import blocks, ssml
from cosyserve_words.spans import Options, Span
from cosyserve_words.surface import Stretch

MOST_CHARS = 1000
"""A piece is no longer: one is read in a millisecond or two, and other threads wait as long at most."""
_CUTS = (
    re.compile(r"(?<=[。！？；])|(?<=[.!?;:,] )(?!\d)"),
    re.compile(r"(?<=[^\d ] )(?=[^\d ])|(?<=[，、：])"),
    re.compile(r"(?<=\s)"),
)


def stretches(text: str, options: Options) -> Iterator[Stretch | Span]:
    """What a text consists of: pieces to read, and spans that are settled. Raises `Unreadable`."""
    found = ssml.stretches(text, options) if ssml.is_ssml(text) else blocks.lines(text, options)
    for piece in found:
        if isinstance(piece, Span) or piece.instead is not None:
            yield piece
        else:
            yield from _pieces(text, piece)


def _pieces(text: str, line: Stretch) -> Iterator[Stretch]:
    start = line.start
    while line.end - start > MOST_CHARS:
        end = _cut(text, start, start + MOST_CHARS)
        yield replace(line, start=start, end=end, breaks=False)
        start = end
    yield replace(line, start=start)


def _cut(text: str, start: int, end: int) -> int:
    """Where to cut what is too long for one piece: late, and where no number or address goes on."""
    for pattern in _CUTS:
        places = [found.end() for found in pattern.finditer(text, start + MOST_CHARS // 2, end)]
        if places:
            return places[-1]
    return end
