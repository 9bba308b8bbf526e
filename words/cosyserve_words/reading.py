"""The way through: a written text to its spans, and these to segments."""

from collections.abc import Callable, Iterator

from cosyserve_words.languages.find import find
from cosyserve_words.markup.inline import surface_of
from cosyserve_words.scanning import spans
from cosyserve_words.segments import segments_of, weight
from cosyserve_words.spans import DROPPED, PAUSE, WORD, Options, Reading, Span
from cosyserve_words.stretches import Stretch, stretches


def read(text: str, options: Options, size: Callable[[str], float] = weight) -> Reading:
    """What `text` says.

    size: how much a model has to say of some words, for segments (`segments_of`). Raises `Unreadable`.
    """
    found = tuple(tiled(text, options))
    return Reading(found, tuple(segments_of(found, size)))


def tiled(text: str, options: Options) -> Iterator[Span]:
    """The spans of a text, without gaps: what nobody claims is dropped, and says so."""
    end = 0
    for span in _spans(text, options):
        if span.end <= end:  # of one written character that became several
            continue
        if span.start > end:
            yield Span(end, span.start, DROPPED, span.language, "")
        yield span
        end = span.end
    if end < len(text):
        yield Span(end, len(text), DROPPED, options.language or options.default, "")


def _spans(text: str, options: Options) -> Iterator[Span]:
    for piece in stretches(text, options):
        if isinstance(piece, Span):
            yield piece
        else:
            yield from _piece(text, piece)


def _piece(text: str, piece: Stretch) -> Iterator[Span]:
    end = len(text[piece.start : piece.end].rstrip()) + piece.start
    last = None
    for last in spans(surface_of(text, piece.start, end, piece.options), piece.options):
        yield last
    if end < piece.end:
        code = last.language if last else piece.options.language or piece.options.default
        mark = find(code).full_stop if piece.breaks and last else " "
        yield Span(end, piece.end, PAUSE if piece.breaks else WORD, code, mark)
