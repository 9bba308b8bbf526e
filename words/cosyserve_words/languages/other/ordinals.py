"""Ordinals as each language writes them."""

import re
from collections.abc import Callable

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.other.language import Other
from cosyserve_words.languages.other.numbers import words

_Reader = Callable[[re.Match[str], Context], str | None]
_WEAK = re.compile(r"\b(?:am|vom|zum|dem|den|im|beim|des)\s$", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(?:der|die|das|jede|diese)\s$", re.IGNORECASE)


def ordinal_rules(language: Other) -> tuple[Rule, ...]:
    """The rules of this language, if it has a way to write ordinals that is known here."""
    made = _PATTERNS.get(language.code)
    return (rule("ordinal", made[0], made[1](language)),) if made else ()


def _german(language: Other) -> _Reader:
    """`der 3. Tag`, `am 3. Tag`: an article must stand before, else a full stop ends a sentence."""

    def read(match: re.Match[str], _context: Context) -> str | None:
        front = match.string[: match.start()][-12:]
        ending = "n" if _WEAK.search(front) else "" if _ARTICLE.search(front) else None
        return None if ending is None else language.ordinal(match["number"]) + ending

    return read


def _french(language: Other) -> _Reader:
    def read(match: re.Match[str], _context: Context) -> str:
        feminine = match["ending"] in {"re", "ère"}
        return "première" if feminine else language.ordinal(match["number"])

    return read


def _romance(language: Other) -> _Reader:
    """`3.º`, `3ª`: the sign says the gender."""

    def read(match: re.Match[str], _context: Context) -> str:
        said = language.ordinal(match["number"])
        if match["ending"] == "ª":
            return re.sub(r"o\b", "a", said)
        before_noun = language.code == "es" and re.match(r"\s[^\W\d_]", match.string[match.end() :])
        return re.sub(r"(primer|tercer)o$", r"\1", said) if before_noun else said

    return read


def _russian(language: Other) -> _Reader:
    endings = {
        "й": {"gender": "m"},
        "я": {"gender": "f"},
        "е": {"gender": "n"},
        "го": {"case": "g"},
        "му": {"case": "d"},
        "м": {"case": "p"},
    }

    def read(match: re.Match[str], _context: Context) -> str:
        said = words(match["number"], language.code, "ordinal", **endings[match["ending"]])
        return said or language.ordinal(match["number"])

    return read


def _plain(language: Other) -> _Reader:
    return lambda match, _context: language.ordinal(match["number"])


_PATTERNS: dict[str, tuple[str, Callable[[Other], _Reader]]] = {
    "de": (r"(?P<number>[0-9]{1,3})\.(?=\s[A-ZÄÖÜ])", _german),
    "fr": (r"(?P<number>[0-9]+)(?P<ending>er|ère|re|ème|eme|e)(?![^\W_])", _french),
    "es": (r"(?P<number>[0-9]+)\.?(?P<ending>[ºªo°])(?![^\W_])", _romance),
    "pt": (r"(?P<number>[0-9]+)\.?(?P<ending>[ºª°])(?![^\W_])", _romance),
    "it": (r"(?P<number>[0-9]+)(?P<ending>[º°ª])(?![^\W_])", _romance),
    "ru": (r"(?P<number>[0-9]+)-?(?P<ending>й|я|е|го|му|м)(?![^\W_])", _russian),
    "nl": (r"(?P<number>[0-9]+)(?:e|de|ste)(?![^\W_])", _plain),
    "sv": (r"(?P<number>[0-9]+):(?:e|a)(?![^\W_])", _plain),
}
