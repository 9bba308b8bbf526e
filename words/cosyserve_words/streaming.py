"""Text that is still being written: how much of it can be read for good."""

import re
import unicodedata

from cosyserve_words.markup import ssml

_CLAUSE_END = re.compile(r"[。！？；…]+[”’」』】》）)\"'\]]*|[.!?;]+[\"'”’)\]]*(?=\s)|[，、：]|[,:](?=\s)|\n")
_OPEN = re.compile(r"\[(?!\s)[^\[\]\n]{0,300}$|<[^<>\s][^<>\n]{0,300}$|\$(?=[^\s$0-9])[^$\n]{1,300}$|`[^`\n]{0,300}$")
_ABBREVIATED = re.compile(
    r"(?:^|[^\w.])(?i:[a-z]|nos?|nr|figs?|eqs?|vol|pp?|ch|sec|art|tab|app|ext|op|ver|para|dr|mrs?|ms|prof|gen|col|capt|lt|sgt"
    r"|rev|hon|gov|sen|rep|st|mt|ft|jr|sr|vs|co|inc|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|[ap]\.m)\.\s*$"
)
"""Abbreviations, which go on: `No. 5`, `Dr. Smith`."""
_FIGURE = re.compile(r"[0-9]\s*[.,:：，、/~-]?\s*$")
"""What goes on where a figure follows: `3. 5`, `1, 2`."""


def settled(text: str) -> int:
    """How many characters of `text`, from its beginning, are read alike whatever comes behind it.

    They end behind a clause, and no span is cut there. SSML is settled when it is whole.
    """
    if ssml.is_ssml(text) or "<speak".startswith(text.strip() or "x"):
        return len(text) if text.rstrip().endswith("</speak>") else 0
    best = 0
    for found in _CLAUSE_END.finditer(text):
        if _is_border(text, found.end()):
            best = found.end()
    return best


def is_open(text: str) -> bool:
    """Whether a mark that has begun at the end of `text` has not ended: a bracket, a tag, a formula, code."""
    return bool(_OPEN.search(text))


def _is_border(text: str, end: int) -> bool:
    """Whether what stands before `end` says nothing else when more comes, and what follows nothing else without it."""
    line = text[text.rfind("\n", 0, end - 1) + 1 : end]
    following = text[end:].lstrip(" \t")
    if not following:
        return False
    if line.endswith("\n"):
        # The next line may be a row of dashes under this one, or go on in small letters where this was only wrapped.
        return not (len(line) > 50 and following[0].islower())
    if is_open(line):
        return False
    if following[0] in "\"'”’」』】》）)]" or (following[0].isdecimal() and _FIGURE.search(line)):
        return False
    goes_on = following[0].isalnum() and unicodedata.east_asian_width(following[0]) not in "WF"
    return not (goes_on and _ABBREVIATED.search(line))
