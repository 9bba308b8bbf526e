"""Blocks of markdown, line by line: headings, lists, quotations, tables, fences, rules."""

import re
from collections.abc import Iterator
from dataclasses import replace

from cosyserve_words.spans import Options
from cosyserve_words.surface import Stretch

LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_PREFIX = re.compile(
    r"[ \t\u3000]{0,80}(?:(?:>[ \t]?)+(?![0-9=]))?[ \t]{0,8}(?:#{1,6}[ \t]+|(?:[-*+•‣◦▪●○■□◆▶►·][ \t]+"
    r"(?:\[[ xX]\][ \t]+)"
    r"?)|[•‣▪●■◆▶►])?"
)
_SUFFIX = re.compile(r"[ \t]{1,8}#{1,6}[ \t]{0,8}$")
_NOTHING = re.compile(
    r"(?:[-*_=][ \t]{0,8}){3,}|\|?(?:[ \t]{0,40}:?-{2,}:?[ \t]{0,40}\|)+(?:[ \t]{0,40}:?-{2,}:?)?"
    r"|\[[^\]\n]{1,80}\]:[ \t]{1,8}\S+(?:[ \t].*)?"
)
"""A whole line that only shapes: a rule, what underlines a heading or a table's head, the target of a link."""
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")
_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*$")
_MOST_LINE = 1000
"""A longer line is no heading, row or list: it is read as it stands."""
_WRAPPED = re.compile(r"[a-zà-öø-ÿ(\"“'‘]")
_LONG_LINE = 50
"""A line of this many characters that the next one goes on in small letters was only wrapped."""


def lines(text: str, options: Options) -> Iterator[Stretch]:
    """The stretches of a text of markdown; what they leave out is dropped."""
    place, code = 0, False
    strip = options.markup == "strip"
    while place < len(text):
        found = LINE_END.search(text, place)
        end = found.start() if found else len(text)
        after = found.end() if found else end
        if end - place > _MOST_LINE:
            yield Stretch(place, after, options, breaks=bool(found))
        elif strip and _FENCE.match(text, place, end):
            code = not code
        elif not strip or code:
            yield Stretch(place, after, replace(options, markup="read") if code else options, breaks=bool(found))
        elif not _NOTHING.fullmatch(text[place:end].strip()):
            yield from _line(text, Stretch(place, end, options, breaks=bool(found)), after)
        place = after


def _line(text: str, line: Stretch, after: int) -> Iterator[Stretch]:
    if _ROW.match(text, line.start, line.end):
        yield from _cells(text, line, after)
        return
    prefix = _PREFIX.match(text, line.start, line.end)
    start = prefix.end() if prefix else line.start
    suffix = _SUFFIX.search(text, start, line.end) if "#" in text[line.start : start] else None
    breaks = line.breaks and not _goes_on(text, start, line.end, after)
    if suffix:
        yield Stretch(start, suffix.start(), line.options)
        yield Stretch(line.end, after, line.options, breaks=breaks)
    else:
        yield Stretch(start, after, line.options, breaks=breaks)


def _goes_on(text: str, start: int, end: int, after: int) -> bool:
    """Whether a line was only wrapped."""
    last = text[start:end].rstrip()[-1:]
    return (
        end - start >= _LONG_LINE and (last.isalnum() or last in {",", "-", ")"}) and bool(_WRAPPED.match(text, after))
    )


def _cells(text: str, row: Stretch, after: int) -> Iterator[Stretch]:
    place = text.index("|", row.start) + 1
    last = text.rindex("|", row.start, row.end)
    while place <= last:
        end = text.index("|", place)
        yield Stretch(place, end, row.options)
        yield Stretch(end, end + 1 if end < last else after, row.options, breaks=True, bare=True)
        place = end + 1
