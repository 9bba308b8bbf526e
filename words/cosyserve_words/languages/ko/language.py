"""Korean words for numbers, Chinese and native, and the rules of Korean before those of any language."""

from collections.abc import Sequence
from functools import cached_property

from cosyserve_words.language import Rule
from cosyserve_words.languages.other.language import Other
from cosyserve_words.languages.other.numbers import words

_FIGURES = str.maketrans("0123456789", "공일이삼사오육칠팔구")
_MOST_NATIVE = 99
_BEFORE_NOUNS = {1: "한", 20: "스무"}
"""What num2words' ordinals do not have."""


class Korean(Other):
    """Chinese numbers, and native ones in front of what is counted with them."""

    def __init__(self) -> None:
        super().__init__("ko")

    @cached_property
    def rules(self) -> Sequence[Rule]:
        from cosyserve_words.languages.ko.rules import RULES

        return (*RULES, *super().rules)

    def digits(self, digits: str) -> str:
        return digits.translate(_FIGURES)

    def native(self, number: int) -> str:
        """A native number in front of a noun, `세` for three; a Chinese one where there is none."""
        if not 0 < number <= _MOST_NATIVE:
            return self.cardinal(str(number))
        return _BEFORE_NOUNS.get(number) or words(str(number), "ko", "ordinal").removesuffix(" 번째")


LANGUAGE = Korean()
