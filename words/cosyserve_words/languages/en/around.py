"""What stands around a match, in English."""

import re

from cosyserve_words.languages.en.numbers import decimal

START = r"(?<![0-9A-Za-z_])(?<![0-9][.,])"
"""Where a number may begin: not in another one, nor in a name."""
MINUS = r"(?P<minus>(?<![0-9)] )(?<![0-9A-Za-z)])[-−])?"
"""A sign of the number itself, not between two."""
END = r"(?![0-9A-Za-z_])(?![.,:][0-9])"
WHOLE = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
NUMBER = rf"(?:{WHOLE}(?:\.[0-9]+)?|(?<![0-9.])\.[0-9]+)"
DASH = r" ?(?:-|–|—|~|to) ?"
SCALE = r"(?:hundred|thousand|million|billion|trillion|quadrillion)"

_NOT_COUNTED = frozenset(
    {
        "is",
        "was",
        "has",
        "as",
        "its",
        "this",
        "us",
        "does",
        "his",
        "yes",
        "series",
        "news",
        "always",
        "perhaps",
        "across",
    }
    | {"thus", "plus", "less", "unless", "towards", "besides", "its", "hers", "ours", "sales", "elections", "olympics"}
)
_COUNTED = re.compile(r"(?:[ -](?:[a-z]{3,} )?([a-z]{2,}s|people|men|women|children|percent|feet|mice|sheep|dozen)\b)")
_A = re.compile(r"(?i)(?<![a-z])an? $")
_NOUN = re.compile("[ -](?!(?:of|or|and|to|in|on|at|per|each|is|was|for|from|by|with|a)\\b)[a-z]{3,}")
_OF_A_YEAR = re.compile(
    r"(?i)\b(?:in|since|until|till|by|year|years|during|before|after|early|late|mid|from|class of|summer|winter|spring"
    r"|autumn|fall|circa|c\.|©|copyright|january|february|march|april|may|june|july|august|september|october|november"
    r"|december),? \(?$"
)


def before(found: re.Match[str], chars: int = 40) -> str:
    """What stands before it."""
    return found.string[max(0, found.start() - chars) : found.start()]


def after(found: re.Match[str], chars: int = 40) -> str:
    """What stands behind it."""
    return found.string[found.end() : found.end() + chars]


def counts(found: re.Match[str]) -> bool:
    """Whether things are counted: `1200 people`, `5000 new members`."""
    counted = _COUNTED.match(after(found))
    return bool(counted) and counted[1] not in _NOT_COUNTED  # type: ignore[index]


def describes(found: re.Match[str]) -> bool:
    """Whether a quantity describes a noun: `a 5 kg bag`, which is said in the singular."""
    return bool(_A.search(before(found, 6))) and bool(_NOUN.match(after(found)))


def is_year_here(found: re.Match[str]) -> bool:
    """Whether what stands before asks for a year."""
    return bool(_OF_A_YEAR.search(before(found)))


def number(written: str) -> str:
    """`-1,234.5` in words."""
    return decimal(written.replace(",", ""))
