"""Formulas: signs between what can be reckoned with, powers, indices; Roman and circled numbers."""

import re
import unicodedata

from cosyserve_words.language import Context
from cosyserve_words.languages.tables import table
from cosyserve_words.languages.zh.around import after, before
from cosyserve_words.languages.zh.numbers import DASH, HAN, NUMBER, cardinal, is_counted, quantity
from cosyserve_words.languages.zh.script import compiled, hanzi
from cosyserve_words.languages.zh.units import SIGN, UNITS, unit_words

_COMPARISONS = table(
    "<==小于等于 >==大于等于 ≤=小于等于 ≥=大于等于 ≦=小于等于 ≧=大于等于 !==不等于 ≠=不等于 ===等于 <=小于 >=大于 "
    "≈=约等于 ≒=约等于 ==等于 ≡=恒等于"
)
_OPERATIONS = {"+": "加", "±": "正负", "×": "乘", "*": "乘", "÷": "除以", "·": "乘", "x": "乘", "^": "的"}
_OPERAND_BEFORE = re.compile(r"(?:[\dA-Za-zα-ωπ)）\]²³⁰-⁹₀-₉%°℃]|平方|立方)\s?$")
_FIGURE_BEFORE = re.compile(r"[\d)）²³]\s?$")
_OPERAND_AFTER = re.compile(r"\s?[-+±√(（\[]?[\dA-Za-zα-ωπ(（]")
_NUMBER_AFTER = re.compile(r"\s?[-+±]?\d")
_EQUATION = re.compile(r"[\dA-Za-z\s()（）+\-×*/÷.]{0,40}[=＝]|.{0,3}[=＝]")
_EQUATION_BEFORE = re.compile(r"[=＝]\s?[\dA-Za-z\s()（）+\-×*÷.]{0,24}$")
_NAME_BEFORE = compiled(r"(?:[A-Za-z]|[歼轰运直强教])$")
_MODEL_BEFORE = re.compile(r"[A-Za-z]\d{1,2}$")
_TIME_BEFORE = compiled(r"(?:[:：]\d\d(?:\s?[AaPp]\.?[Mm]\.?)?|\d[点时分日月年])\s?$")
_TIME_AFTER = compiled(r"\s?(?:次日)?\d{1,4}(?:[:：]\d\d|[点时分日月年])")
_UNIT_BEFORE = re.compile(rf"\d\s?([{HAN}]|[A-Za-z]{{1,4}}|[%℃°])\s?$")
_CHARGES = {"⁺": "正", "⁻": "负"}
_KEYS = {"*": "星", "#": "井"}
_SUPERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_FEWEST_ROMAN = 2
_NOT_A_LIST = compiled(r"(?:[第图表注式题步见如]|步骤|条件|公式)\s?$")


def _comparison(match: re.Match[str], _context: Context) -> str | None:
    sign, follows = match[0].strip(), after(match)
    if sign in {"<", ">", "=", "==", "!="}:
        reckoned = _OPERAND_BEFORE.search(before(match)) and _OPERAND_AFTER.match(follows)
        if not reckoned and not (sign in {"<", ">"} and _NUMBER_AFTER.match(follows)):
            return None
    return _COMPARISONS[sign]


def _more(match: re.Match[str], _context: Context) -> str | None:
    """`500+人`: more than so many."""
    return "多" if is_counted(after(match)) else None


def _operation(match: re.Match[str], _context: Context) -> str | None:
    sign, front, follows = match["sign"], before(match), after(match)
    if not _OPERAND_BEFORE.search(front) or not _OPERAND_AFTER.match(follows):
        return None
    if sign in {"x", "*", "·"} and not (_FIGURE_BEFORE.search(front) and _NUMBER_AFTER.match(follows)):
        return None
    return _OPERATIONS[sign]


def _dash(match: re.Match[str], _context: Context) -> str | None:
    """A dash: 减 in an equation, 到 between two amounts of the same, 杠 between bare figures, nothing within a name."""
    front, follows = before(match), after(match)
    if _OPERAND_BEFORE.search(front) and (
        _EQUATION.match(follows) or _EQUATION_BEFORE.search(front) or match[0] == " - "
    ):
        return "减"
    if _same_kind(front, follows):
        return "到"
    if match[0] != "-" or not follows[:1].isdigit():
        return None
    if _NAME_BEFORE.search(front) or (_MODEL_BEFORE.search(front) and re.match(r"\d{3}", follows)):
        return ""
    return "杠" if front[-1:].isdigit() else None


def _same_kind(front: str, follows: str) -> bool:
    """Whether a dash stands between two times, or two amounts of one unit or currency."""
    if _TIME_BEFORE.search(front) and _TIME_AFTER.match(follows):
        return True
    quarter = re.search(r"(?<![A-Za-z])([A-Z])\d$", front)
    if quarter and re.match(rf"{quarter[1]}\d", follows):
        return True
    unit = _UNIT_BEFORE.search(front)
    return bool(unit and re.match(rf"\s?[-+]?[$¥￥€£]?[\d.,]+\s?{re.escape(unit[1])}", follows))


def _negative(match: re.Match[str], _context: Context) -> str:
    sign = {"-": "负", "±": "正负", "+": "加"}[match["sign"]]
    return sign + quantity(match["number"], after(match))


def _power(match: re.Match[str], _context: Context) -> str | None:
    written = (match["super"] or match["caret"]).translate(_SUPERS)
    if not _OPERAND_BEFORE.search(before(match)):
        return "" if match["super"] else None  # the mark of a footnote
    named = {"2": "的平方", "3": "的立方"}.get(written)
    if named and not before(match).endswith("10"):
        return named
    exponent = cardinal(written) if re.fullmatch(r"-?\d+", written) else written.replace("-", "负")
    return f"的{exponent}次方"


def _charge(match: re.Match[str], _context: Context) -> str:
    """`Fe³⁺`, `SO₄²⁻`: how a chemist reads an ion."""
    return cardinal(match["many"].translate(_SUPERS)).replace("零", "") * bool(match["many"]) + _CHARGES[match["sign"]]


def _unit_alone(match: re.Match[str], _context: Context) -> str:
    return "".join(unit_words(match["unit"]))


def _arrow(_match: re.Match[str], _context: Context) -> str:
    return "到"


def _numero(match: re.Match[str], _context: Context) -> str:
    return f"第{cardinal(match['number'])}"


def _or(match: re.Match[str], _context: Context) -> str:
    """`苹果/香蕉` is a list, `A/B` one name."""
    return "、" if compiled(rf"[{HAN}]").match(after(match)) else " "


def _and(_match: re.Match[str], _context: Context) -> str:
    return " and "


def _nothing(_match: re.Match[str], _context: Context) -> str:
    return ""


def _degrees(match: re.Match[str], _context: Context) -> str:
    return UNITS[match[0]]


def _key(match: re.Match[str], _context: Context) -> str:
    """A key of a telephone."""
    return _KEYS[match["key"]] + ("" if after(match).lstrip().startswith(("号", "號")) else "号")


def _index(match: re.Match[str], _context: Context) -> str:
    return cardinal(match[0].translate(_SUBS))


def _root(_match: re.Match[str], _context: Context) -> str:
    return "根号"


def _roman_value(letters: str) -> int:
    values = [_VALUES[letter] for letter in letters]
    return sum(
        -value if value < following else value for value, following in zip(values, [*values[1:], 0], strict=True)
    )


def _roman(match: re.Match[str], _context: Context) -> str | None:
    letters = unicodedata.normalize("NFKC", match[0]).upper()
    if not _ROMAN.fullmatch(letters):
        return None
    return cardinal(str(_roman_value(letters)))


def _circled(match: re.Match[str], _context: Context) -> str:
    value = cardinal(str(int(unicodedata.numeric(match[0]))))
    follows = after(match)
    goes_on = (
        not follows
        or follows[0] in "和与及或到至的、"
        or not re.match(r"[\w“「《]", follows)
        or _NOT_A_LIST.search(before(match))
    )
    return value if goes_on else f"{value}，"


def _list_number(match: re.Match[str], _context: Context) -> str:
    return cardinal(match["number"]) + "、"


_CIRCLED = "①-⑳⓪⓵-⓾❶-❿➀-➉➊-➓㈠-㈩㊀-㊉㉑-㉟㊱-㊿"
EARLY = (
    hanzi("ordinal", r"(?<![\s\S])\s*(?P<number>[1-9]\d?)[.．](?=\s?[一-鿿A-Za-z“《])", _list_number, first="0-9 "),
)
RULES = (
    hanzi("formula", r"(?<=[A-Za-z₀-₉])(?P<many>[⁰¹²³⁴-⁹]*)(?P<sign>[⁺⁻])(?![⁰¹²³⁴-⁹])", _charge, first="⁰¹²³⁴-⁹⁺⁻"),
    hanzi(
        "measure",
        rf"(?<=[⁰¹²³⁴-⁹])\s?(?P<unit>{SIGN}(?:/{SIGN})?)(?![A-Za-z\d])",
        _unit_alone,
        first=" A-Za-zμµΩ°℃",
        hint=r"(?<=[⁰¹²³⁴-⁹])\s?[A-Za-zμµΩ°℃]",
    ),
    hanzi("sign", r"\s?[→⇒➔]\s?(?=\w)", _arrow, first=" →⇒➔", hint=r"\s?[→⇒➔]"),
    hanzi(
        "ordinal",
        r"(?:(?<![A-Za-z])[Nn][Oo]\.?|№)\s?(?P<number>\d{1,5})(?![\d.])",
        _numero,
        first="Nn№",
        hint=r"[Nn][Oo]\.?\s?\d|№",
    ),
    hanzi("sign", rf"(?<=[{HAN}])\s?/\s?(?=[{HAN}])|(?<=[A-Za-z])/(?=[A-Za-z])", _or, first=" /", hint=r"\s?/"),
    hanzi("sign", r"(?<=[A-Za-z])\s?&\s?(?=[A-Za-z])", _and, first=" &", hint=r"\s?&"),
    hanzi("sign", r"[←↑↓↔√](?![\dA-Za-z(（])", _nothing, first="←↑↓↔√"),
    hanzi("temperature", r"(?<!\d)(?:℃|°C|℉|°F)", _degrees, first="℃°℉", hint="[℃℉]|°[CF]"),
    hanzi("sign", r"(?P<key>[*#])(?=\s?号?键)", _key, first="*#"),
    hanzi("number", r"(?<=\d0)\+", _more, first="+"),
    hanzi(
        "formula",
        rf"\s?{DASH}\s?",
        _dash,
        first=" \\-~–—〜～至",
        hint=r"(?<=[^\s])\s?(?:-{1,2}|[~–—〜～])\s?(?=[-+0-9$¥￥€£A-Za-zα-ω(])",
    ),
    hanzi(
        "number",
        rf"(?<![\dA-Za-z.,)）²³℃%])(?P<sign>[-±+])(?P<number>{NUMBER})(?![\d]|[-/]\d)",
        _negative,
        first="\\-±+",
    ),
    hanzi(
        "formula",
        r"\s?(?:[<>=!]=|[<>=≤≥≦≧≠≈≒≡])\s?",
        _comparison,
        first=" <>=!≤≥≦≧≠≈≒≡",
        hint=r"\s?[<>=≤≥≦≧≠≈≒≡]|\s?!=",
    ),
    hanzi(
        "formula", r"\s?(?P<sign>[+±×*÷·x])\s?", _operation, first=" +±×*÷·x", hint=r"\s?[+±×÷]|(?<=[\d)）])\s?[*x·]"
    ),
    hanzi("formula", r"(?P<super>[⁺⁻]?[⁰¹²³⁴-⁹ⁿ]+)|\^(?P<caret>-?\d+|[a-z])", _power, first="⁰¹²³⁴-⁹⁺⁻ⁿ\\^"),
    hanzi("formula", r"[₀-₉]+", _index, first="₀-₉"),
    hanzi("formula", r"√(?=\s?[\dA-Za-z(（])", _root, first="√"),
    hanzi("roman", r"[Ⅰ-Ⅿⅰ-ⅿ]+", _roman, first="Ⅰ-Ⅿⅰ-ⅿ"),
    hanzi(
        "roman",
        r"(?:(?<=第)[IVXLC]+|(?<![A-Za-z])[IVX]{2,6}(?=[期型级类度章卷部世号代段区相]))(?![A-Za-z])",
        _roman,
        first="IVXLC",
        hint="(?<=第)[IVXLC]|[IVX]{2,6}(?=[期型级类度章卷部世号代段区相])",
    ),
    hanzi("number", f"[{_CIRCLED}]", _circled, first=_CIRCLED),
)
