"""The way through: a written text to its spans, and these to segments."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from cosyserve_words.languages.find import base_of, find
from cosyserve_words.markup.inline import surface_of
from cosyserve_words.scanning import spans
from cosyserve_words.segments import joined, segments_of, weight
from cosyserve_words.spans import DROPPED, PAUSE, WORD, Options, Reading, Span
from cosyserve_words.stretches import stretches
from cosyserve_words.surface import Stretch


def read(text: str, options: Options, size: Callable[[str], float] = weight) -> Reading:
    """What `text` says.

    size: how much a model has to say of some words, for segments (`segments_of`). Raises `Unreadable`.
    """
    found = tuple(tiled(text, options))
    return Reading(found, tuple(segments_of(found, size)))


def prepare() -> None:
    """Load the words of the languages that most texts are in: the first reading in one does otherwise."""
    for language in ("en", "zh"):
        read("1 km", Options(language=language))


def tiled(text: str, options: Options) -> Iterator[Span]:
    """The spans of a text, without gaps: what nobody claims is dropped, and says so."""
    waiting: Span | None = None
    for span in _spans(text, options):
        if waiting is not None and span.start < waiting.end:
            waiting = _one(waiting, span)
            continue
        end = waiting.end if waiting else 0
        if waiting:
            yield waiting
        if span.start > end:
            yield Span(end, span.start, DROPPED, span.language, "")
        waiting = span
    if waiting:
        yield waiting
    end = waiting.end if waiting else 0
    if end < len(text):
        yield Span(end, len(text), DROPPED, options.language or options.default, "")


def _one(first: Span, second: Span) -> Span:
    """Two spans of the same written characters, as those of a formula are."""
    told = second if first.kind in {WORD, DROPPED} else first
    return replace(told, start=first.start, end=max(first.end, second.end), spoken=joined(first.spoken, second.spoken))


def _spans(text: str, options: Options) -> Iterator[Span]:
    for piece in stretches(text, options):
        if isinstance(piece, Span):
            yield piece
        else:
            yield from _piece(text, piece)


def _piece(text: str, piece: Stretch) -> Iterator[Span]:
    end = piece.start if piece.bare else piece.start + len(text[piece.start : piece.end].rstrip())
    last = None
    if piece.start < end:
        for last in spans(surface_of(text, piece, end), piece.options):
            yield last
    if end < piece.end:
        code = last.language if last else piece.options.language or piece.options.default
        yield Span(
            end,
            piece.end,
            PAUSE if piece.breaks else WORD,
            code,
            find(base_of(code)).full_stop if piece.breaks else " ",
        )
