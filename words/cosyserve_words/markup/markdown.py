"""Inline markdown: signs that shape words are left out, the words stay."""

import re

from cosyserve_words.markup.marks import Kind
from cosyserve_words.spans import Options
from cosyserve_words.surface import Builder

_WORD = "A-Za-z0-9"


def _drop(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del found, builder, options
    return True


def _escaped(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del options
    builder.put(found[0][1], found.start(), found.end())
    return True


def _inside(found: re.Match[str], builder: Builder, options: Options) -> bool:
    """Only what is between the first and the last character."""
    del options
    builder.keep(found[0][1:-1], found.start() + 1)
    return True


KINDS: tuple[Kind, ...] = (
    ("escape", r"\\[`*_{}\[\]#+.!|>~$-]", _escaped),
    ("autolink", r"<(?:https?://[^\s<>]{1,2000}|[\w.+-]{1,64}@[\w.-]{1,200})>", _inside),
    ("link", r"!?\[(?=[^\[\]\n]{1,300}\]\()|!\[\]\([^()\s]{0,2000}\)", _drop),
    ("target", r"(?<=[^\[])\]\((?:[^()\s]|\([^()\s]{0,200}\)){0,2000}(?:\s{1,4}\"[^\"\n]{0,200}\")?\)", _drop),
    (
        "citation",
        r"(?<=[^\s\[(])\[(?:[1-9][0-9]{0,2}(?:[-–,] ?[1-9][0-9]{0,2}){0,8}|\^[\w-]{1,20})\](?![(\w\[])",
        _drop,
    ),
    ("code", "`{1,3}", _drop),
    ("strong", r"\*{2,}(?![\s*])(?!(?<=[0-9]\*\*)[0-9])|(?<=\S)\*{2,}(?!\*)(?![0-9])", _drop),
    ("emphasis", rf"(?<![{_WORD}*])\*(?=[^\s*][^*\n]{{0,400}}(?<=\S)\*)|(?<=[^\s*])\*(?![{_WORD}*])", _drop),
    ("underline", rf"(?<![{_WORD}_/.@-])_{{1,3}}(?=[^\s_])|(?<=[^\s_])_{{1,3}}(?![{_WORD}_/@.])", _drop),
    ("struck", r"~~(?=\S)|(?<=\S)~~", _drop),
    ("marked", r"==(?=[^\s=][^=\n]{0,200}[^\s=]==(?!=))|(?<=[^\s=])==(?![\s=\w])", _drop),
)
