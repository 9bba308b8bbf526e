"""English names of signs between words and figures: formulas, comparisons, powers, percent."""

import re
import unicodedata

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.numbers import cardinal, digits, ordinal

_SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_ROMAN = "ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻ"
_LOW = "₀₁₂₃₄₅₆₇₈₉"
_FIGURES = str.maketrans(_SUPER + _LOW + "⁻⁺₋₊", "01234567890123456789-+-+")
_BETWEEN = {
    "<=": "less than or equal to", ">=": "greater than or equal to", "≤": "less than or equal to",
    "≥": "greater than or equal to",
    "!=": "not equal to", "≠": "not equal to", "==": "equals", "=": "equals", "≈": "approximately equals",
    "<": "less than",
    ">": "greater than", "&&": "and", "||": "or", "×": "times", "÷": "divided by", "±": "plus or minus", "+": "plus",
    "→": "to",
    "⇒": "implies", "=>": "implies", "->": "to", "∞": "infinity", "√": "square root of", "∈": "in", "∑": "sum",
    "π": "pi", "∂": "partial",
    "·": "times", "∗": "times", "∆": "delta", "Δ": "delta", "←": "from", "↑": "up", "↓": "down", "&": "and",
    "§": "section", "№": "number",
    "©": "copyright", "®": "registered", "™": "", "•": "", "¶": "", "†": "", "‡": "", "≡": "is equivalent to",
    "∫": "integral of",
    "∴": "therefore", "∪": "union", "∩": "intersection", "⊂": "subset of", "∀": "for all", "∃": "there exists",
    "¬": "not", "∝": "proportional to",
}  # fmt: skip
_POWERS = {"2": "squared", "3": "cubed"}
_MATH = r"(?P<left>[0-9A-Za-z)\]²³])"


def _between(found: re.Match[str], context: Context) -> str:
    del context
    return _BETWEEN[found[0]]


def _greek(found: re.Match[str], context: Context) -> str:
    del context
    return unicodedata.name(found[0]).rpartition(" ")[2].lower().replace("lamda", "lambda")


def _enclosed(found: re.Match[str], context: Context) -> str:
    """`①`, `Ⅷ`: a number; of a list's item, with a pause behind it."""
    del context
    said = cardinal(str(int(unicodedata.numeric(found[0]))))
    return said if found[0] in _ROMAN else f"{said},"


def _power(found: re.Match[str], context: Context) -> str:
    """`²`, `⁶`, `⁻¹`, `^10` behind what they raise."""
    del context
    figures = found[0].lstrip("^").strip("{}()").translate(_FIGURES)
    if figures in _POWERS:
        return _POWERS[figures]
    if figures.lstrip("-").isdecimal():
        minus = "minus " if figures.startswith("-") else ""
        return f"to the {minus}{ordinal(figures.lstrip('-'))}" if not minus else f"to the minus {cardinal(figures[1:])}"
    return f"to the {figures}"


def _low(found: re.Match[str], context: Context) -> str:
    del context
    figures = found[0].translate(_FIGURES)
    return cardinal(figures) if figures.isdecimal() and len(figures) < 3 else digits(figures)


def _minus(found: re.Match[str], context: Context) -> str:
    del found, context
    return "minus"


def _times(found: re.Match[str], context: Context) -> str:
    del context
    return "by" if found[0].strip() in {"x", "X"} else "times"


def _percent(found: re.Match[str], context: Context) -> str:
    del context
    return "percent" if found[0] == "%" else "per mille"


_LONG = sorted(_BETWEEN, key=len, reverse=True)
_ANY = "|".join(map(re.escape, _LONG))
_CLASS = "".join(sorted({re.escape(sign[0]) for sign in _BETWEEN}))
RULES: tuple[Rule, ...] = (
    rule("sign", "(?<![Α-ω])[Α-ΡΣ-Ωα-ω](?![Α-ω])", _greek, first="Α-ω"),
    rule("number", f"[①-⑳⓪❶-❿➀-➉{_ROMAN}]", _enclosed, first=f"①-⑳⓪❶-❿➀-➉{_ROMAN}"),
    rule(
        "formula",
        rf"(?<=[0-9A-Za-z)\]])(?:[⁻⁺]?[{_SUPER}]+|\^\{{?-?[0-9A-Za-z]{{1,4}}\}}?)",
        _power,
        first=f"{_SUPER}⁻⁺^",
        hint=rf"[{_SUPER}⁻⁺^]",
    ),
    rule("formula", rf"[₋₊]?[{_LOW}]+", _low, first=f"{_LOW}₋₊", hint=f"[{_LOW}]"),
    rule(
        "formula",
        r"(?<=[0-9A-Za-z)])(?<![A-Za-z]{2}) ?[-−] ?(?=[0-9A-Za-z(]+ ?=)|(?<=[0-9A-Za-z)] )[-−]"
        r"(?= [0-9A-Za-z(]+ ?[=<>])",
        _minus,
        first="-− ",
        hint="[-−] ?[0-9A-Za-z(]",
    ),
    rule("formula", r"(?<=[0-9]) ?[xX×*] ?(?=[0-9])", _times, first=" xX×*", hint="(?<=[0-9]) ?[xX×*]"),
    rule("sign", _ANY, _between, first=_CLASS),
    rule("sign", "[%‰]", _percent, first="%‰"),
)
