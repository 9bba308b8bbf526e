"""A text in pieces of one line at most, and what is between them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cosyserve_words.spans import Options, Span

MOST_CHARS = 1000
"""A piece is no longer: one is read in a millisecond or two, and other threads wait as long at most."""
_LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CUTS = (
    re.compile(r"(?<=[。！？；])|(?<=[.!?;:,] )(?!\d)"),
    re.compile(r"(?<=[^\d ] )(?=[^\d ])|(?<=[，、：])"),
    re.compile(r"(?<=\s)"),
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece that is still to be read. breaks: whether a pause follows, because its line ends."""

    start: int
    end: int
    options: Options
    breaks: bool = False


def stretches(text: str, options: Options) -> Iterator[Stretch | Span]:
    """What a text consists of: pieces to read, and spans that are settled."""
    place = 0
    while place < len(text):
        found = _LINE_END.search(text, place)
        end = found.end() if found else len(text)
        yield from _pieces(text, Stretch(place, end, options, bool(found)))
        place = end


def _pieces(text: str, line: Stretch) -> Iterator[Stretch]:
    start = line.start
    while line.end - start > MOST_CHARS:
        end = _cut(text, start, start + MOST_CHARS)
        yield Stretch(start, end, line.options)
        start = end
    yield Stretch(start, line.end, line.options, line.breaks)


def _cut(text: str, start: int, end: int) -> int:
    """Where to cut what is too long for one piece: late, and where no number or address goes on."""
    for pattern in _CUTS:
        places = [found.end() for found in pattern.finditer(text, start + MOST_CHARS // 2, end)]
        if places:
            return places[-1]
    return end
