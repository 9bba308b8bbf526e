"""Chinese words for numbers and signs, and the rules of Chinese."""

from collections.abc import Sequence
from functools import cached_property

from cosyserve_words.language import Language, Rule
from cosyserve_words.languages.tables import table
from cosyserve_words.languages.zh.numbers import cardinal, figures, quantity

SIGNS = table(
    ".=点 @=艾特 #tag=话题 /=斜杠 \\=反斜杠 :=冒号 -=杠 _=下划线 #=井号 ?=问号 ==等于 &=和 %=百分号 +=加 ~=波浪号 "
    "*=星号 $=美元 €=欧元 £=英镑 ¥=元 ₩=韩元 ₹=卢比 |=竖线 ^=脱字符 <=小于 >=大于 !=感叹号 ,=逗号 ;=分号 '=撇号 "
    '(=左括号 )=右括号 [=左方括号 ]=右方括号 {=左花括号 }=右花括号 "=引号 `=反引号'
)
_OWN = frozenset({"AM", "PM", "am", "pm", "QQ", "sin", "cos", "tan", "log", "ln", "lg", "HK", "US", "NT", "AU", "CA"})


class Chinese(Language):
    """Mandarin, in the characters of the text around."""

    code = "zh"
    spaced = False
    full_stop = "。"
    comma = "，"
    signs = SIGNS

    @cached_property
    def rules(self) -> Sequence[Rule]:
        from cosyserve_words.languages.zh.all import RULES

        return RULES

    def owns(self, word: str) -> bool:
        from cosyserve_words.languages.zh.money import CODES
        from cosyserve_words.languages.zh.units import UNITS

        return word in _OWN or word in UNITS or word in CODES

    def cardinal(self, digits: str) -> str:
        return quantity(digits)

    def ordinal(self, digits: str) -> str:
        return f"第{cardinal(digits)}"

    def digits(self, digits: str) -> str:
        return figures(digits)

    def decimal(self, number: str) -> str:
        return quantity(number)


LANGUAGE = Chinese()
