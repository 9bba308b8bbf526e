"""Spans to sentences, and sentences to segments: what a model speaks in one go."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from cosyserve_words.spans import PAUSE, WORD, Segment, Span

MOST, LEAST, LEAST_LAST = 80.0, 60.0, 20.0
"""A segment is closed before the sentence that would make it larger than MOST, if it is larger than LEAST already; a
last one smaller than LEAST_LAST joins the one before it."""
_END = re.compile(r"[。！？；…]+[”’」』】》）)\"']*|[.!?;]+[\"'”’)\]]*(?=\s)")
_WIDE = re.compile(
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\U00020000-\U0003fffd]+"
)
_MARKS = frozenset("。！？；….!?;:：,，、")


def weight(text: str) -> float:
    """How much there is to say, in Chinese characters, roughly: a quarter for a letter."""
    return 0.25 * len(text) + 0.75 * sum(map(len, _WIDE.findall(text)))


def segments_of(spans: Iterable[Span], size: Callable[[str], float]) -> Iterator[Segment]:
    """What is spoken in one go: whole sentences, `LEAST` to `MOST` by `size`. Nothing that says nothing."""
    before = waiting = ""
    for sentence in _said(spans):
        if waiting and size(waiting + sentence.text) > MOST and size(waiting) > LEAST:
            yield from _one(before)
            before, waiting = waiting, ""
        waiting = _apart(waiting, sentence.text)
        if sentence.pause_s:
            yield from _one(before)
            yield Segment(waiting, sentence.pause_s)
            before = waiting = ""
    if before and size(waiting) < LEAST_LAST:
        before, waiting = _apart(before, waiting), ""
    yield from _one(before)
    yield from _one(waiting)


def _one(text: str) -> Iterator[Segment]:
    if text:
        yield Segment(text)


def _said(spans: Iterable[Span]) -> Iterator[Segment]:
    """Sentences that say something; a silence behind nothing joins the one before it."""
    for sentence in sentences(spans):
        text = " ".join(sentence.text.split())
        if any(char.isalnum() for char in text) or sentence.pause_s:
            yield Segment(text, sentence.pause_s)


def sentences(spans: Iterable[Span]) -> Iterator[Segment]:
    """Sentences: cut in plain words alone, and at pauses."""
    open_text = ""
    for span in spans:
        if span.kind == PAUSE:
            open_text = open_text.rstrip()
            open_text += "" if not open_text or open_text[-1] in _MARKS else span.spoken
            yield Segment(open_text, span.pause_s)
            open_text = ""
        elif span.kind == WORD:
            *whole, rest = _cut(span.spoken)
            for part in whole:
                yield Segment(joined(open_text, part))
                open_text = ""
            open_text = joined(open_text, rest)
        else:
            open_text = joined(open_text, span.spoken)
    yield Segment(open_text)


def _cut(text: str) -> list[str]:
    ends = [found.end() for found in _END.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def _apart(before: str, after: str) -> str:
    """Sentences behind sentences: a blank between them where neither is written without any."""
    if before and after and not _is_wide(before[-1]) and not _is_wide(after[0]):
        return f"{before} {after}"
    return before + after


def joined(before: str, after: str) -> str:
    """Words behind words, with a blank where two would become one."""
    if before and after and _is_letter(before[-1]) and _is_letter(after[0]):
        return f"{before} {after}"
    return before + after


def _is_letter(char: str) -> bool:
    """Whether it is of a script that writes words apart."""
    return char.isalnum() and not _is_wide(char)


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"
