"""Languages of which only the numbers are known."""

from collections.abc import Sequence

from num2words import num2words

from cosyserve_words.language import Language, Rule


class Other(Language):
    """One of num2words' languages. What that has no words for stays in figures."""

    def __init__(self, code: str) -> None:
        self.code = code

    @property
    def rules(self) -> Sequence[Rule]:
        return ()

    def cardinal(self, digits: str) -> str:
        return _words(int(digits), self.code, "cardinal") or digits

    def ordinal(self, digits: str) -> str:
        return _words(int(digits), self.code, "ordinal") or digits

    def digits(self, digits: str) -> str:
        return " ".join(self.cardinal(figure) if figure.isdecimal() else figure for figure in digits)

    def decimal(self, number: str) -> str:
        return number


def _words(number: int, code: str, form: str) -> str:
    try:
        return str(num2words(number, lang=code, to=form))
    except (NotImplementedError, OverflowError, ValueError, TypeError, IndexError, KeyError):
        return ""
