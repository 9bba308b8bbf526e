"""Japanese words for numbers and signs, and the rules of Japanese before those of any language."""

from collections.abc import Sequence
from functools import cached_property

from cosyserve_words.language import Rule
from cosyserve_words.languages.other.language import Other

_FIGURES = str.maketrans("0123456789", "〇一二三四五六七八九")


class Japanese(Other):
    """Numbers in Chinese characters, as a Japanese text may have them: what stands behind says how they sound."""

    spaced = False
    full_stop = "。"
    comma = "、"

    def __init__(self) -> None:
        super().__init__("ja")

    @cached_property
    def rules(self) -> Sequence[Rule]:
        from cosyserve_words.languages.ja.rules import RULES

        return (*RULES, *super().rules)

    def ordinal(self, digits: str) -> str:
        return f"{self.cardinal(digits)}番目"

    def digits(self, digits: str) -> str:
        return digits.translate(_FIGURES).replace("〇", "ゼロ")


LANGUAGE = Japanese()
