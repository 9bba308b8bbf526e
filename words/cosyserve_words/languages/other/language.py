"""A language by its code: number words from num2words, what else there is from CLDR."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from cosyserve_words.language import Language, Rule
from cosyserve_words.languages.other import forms, names
from cosyserve_words.languages.other.numbers import plain, words

_INTERNATIONAL = {"#tag": "hashtag"}


class Other(Language):
    """One of num2words' languages. What that has no words for stays in figures."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.thousands = names.separators(code)[1].replace("\\", "")
        self.signs: Mapping[str, str] = forms.SIGNS.get(code, {})  # type: ignore[misc]  # each instance has its own

    @cached_property
    def rules(self) -> Sequence[Rule]:
        from cosyserve_words.languages.other.rules import rules_of

        return rules_of(self)

    def owns(self, word: str) -> bool:
        return word in names.UNITS or word in names.CURRENCIES

    def cardinal(self, digits: str) -> str:
        return words(digits, self.code) or self.digits(digits)

    def ordinal(self, digits: str) -> str:
        return words(digits, self.code, "ordinal") or digits

    def digits(self, digits: str) -> str:
        if not words("1", self.code):
            return digits
        said = [words(figure, self.code) or figure if figure in "0123456789" else figure for figure in digits]
        return (" " if self.spaced else "").join(said)

    def decimal(self, number: str) -> str:
        number = "0" + number if number.startswith(".") else number
        return words(number, self.code) or self.digits(number)

    def sign(self, sign: str) -> str:
        return super().sign(sign if sign in self.signs else _INTERNATIONAL.get(sign, sign))

    def number(self, written: str) -> str:
        """A number as this language writes it."""
        number = self.plain(written)
        return self.decimal(number) if "." in number else self.cardinal(number)

    def plain(self, written: str) -> str:
        """`1.234,5` as `1234.5`."""
        return plain(written, *names.separators(self.code))

    def counted(self, number: str) -> str:
        """A plain number in front of what is counted: one is often another word there."""
        one = forms.ONE.get(self.code) if number == "1" else None
        return one or (self.decimal(number) if "." in number else self.cardinal(number))
