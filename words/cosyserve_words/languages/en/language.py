"""English words for numbers and signs, and the rules of English."""

from collections.abc import Sequence
from functools import cached_property

from cosyserve_words.language import Language, Rule
from cosyserve_words.languages.en.numbers import cardinal, decimal, digits, house, ordinal

SIGNS = {
    ".": "dot", "@": "at", "/": "slash", "\\": "backslash", ":": "colon", "-": "dash", "_": "underscore", "#": "hash",
    "?": "question mark", "=": "equals", "&": "and", "%": "percent", "+": "plus", "~": "tilde", "*": "asterisk",
    "$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "₩": "won", "₹": "rupee", "|": "pipe", "^": "caret",
    "<": "less than", ">": "greater than", "!": "exclamation mark", ",": "comma", ";": "semicolon", "'": "apostrophe",
    "(": "open parenthesis", ")": "close parenthesis", "[": "open bracket", "]": "close bracket",
    "point": "point", "ampersand": "ampersand", "#tag": "hashtag", "{": "open brace",
    "}": "close brace", '"': "quote", "`": "backtick",
}  # fmt: skip


class English(Language):
    """British in its `and`, American in the order of its dates."""

    code = "en"
    signs = SIGNS

    @cached_property
    def rules(self) -> Sequence[Rule]:
        from cosyserve_words.languages.en.all import RULES  # they need this class's words

        return RULES

    def cardinal(self, digits: str) -> str:
        return cardinal(digits)

    def ordinal(self, digits: str) -> str:
        return ordinal(digits)

    def digits(self, digits_: str) -> str:
        return digits(digits_)

    def figures(self, digits_: str) -> str:
        """`380` as three eighty, `4090` as forty ninety."""
        return cardinal(digits_) if digits_.endswith("000") and len(digits_) < 6 else house(digits_)

    def decimal(self, number: str) -> str:
        return decimal(number)


LANGUAGE = English()
