"""HTML: tags are left out, those of blocks are pauses, entities are their characters."""

import html
import re

from cosyserve_words.markup.marks import Kind
from cosyserve_words.spans import PAUSE, Options
from cosyserve_words.surface import Atom, Builder

_BLOCKS = frozenset(
    {
        "br",
        "p",
        "div",
        "li",
        "tr",
        "td",
        "th",
        "ul",
        "ol",
        "dl",
        "dt",
        "dd",
        "hr",
        "table",
        "section",
        "article",
        "title",
        "pre",
    }
    | {"blockquote", "header", "footer", "caption", "figcaption", "option", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_NAME = re.compile(r"</?\s?([A-Za-z][A-Za-z0-9]*)")
_VALUE = r"(?:\"[^\"<>]{0,1000}\"|'[^'<>]{0,1000}'|[^\s\"'<>=]{1,1000})"
_LONE = "disabled|checked|async|defer|controls|hidden|required|selected|open|allowfullscreen|autoplay|loop|muted"
_ATTRIBUTE = rf"\s{{1,20}}(?:[A-Za-z_:@][A-Za-z0-9_:.@-]{{0,40}}\s?=\s?{_VALUE}|(?:{_LONE})\b)"
_RAISED = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_LOWERED = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋")


def _tag(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del options
    name = _NAME.match(found[0])
    if name and name[1].lower() in _BLOCKS:
        builder.put_atom(Atom(PAUSE, ""), found.start(), found.end())
    return True


def _drop(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del found, builder, options
    return True


def _script(found: re.Match[str], builder: Builder, options: Options) -> bool:
    """`<sup>2</sup>` behind a figure or a short name is a power; behind a word it is a note."""
    del options
    low, inside, word = found["which"].lower() == "sub", found["inside"], found["word"]
    if inside.isalpha():
        builder.put(inside, found.start("inside"), found.end("inside"))
    elif low or word is None:
        builder.put(inside.translate(_LOWERED if low else _RAISED), found.start(), found.end())
    return True


def _entity(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del options
    text = html.unescape(found[0])
    if text == found[0]:
        return False
    builder.put(
        "".join(" " if char.isspace() or not char.isprintable() else char for char in text), found.start(), found.end()
    )
    return True


KINDS: tuple[Kind, ...] = (
    ("comment", r"<!--(?:[^-]|-(?!->)){0,2000}-->|<!DOCTYPE[^<>]{0,200}>|<!\[CDATA\[|\]\]>", _drop),
    ("hidden", r"<(?P<hidden_name>script|style)\b[^<>]{0,200}>[^<]{0,2000}</(?P=hidden_name)>", _drop),
    (
        "script",
        (
            r"(?P<word>(?<=[A-Za-z]{4})|(?<=[.,;:!?”\"]))?<(?P<which>(?i:sup|sub))>"
            r"(?P<inside>[+-]?[0-9]{1,4}|[a-z]{1,3})</(?P=which)>"
        ),
        _script,
    ),
    ("tag", rf"</?[A-Za-z][A-Za-z0-9:-]{{0,30}}(?:{_ATTRIBUTE}){{0,20}}\s{{0,4}}/?>", _tag),
)
ENTITY: Kind = ("entity", r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});", _entity)
