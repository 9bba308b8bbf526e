"""Percentages, fractions, ranges of plain numbers, ordinals, and any number that no other rule takes."""

import re

from cosyserve_words.language import Context
from cosyserve_words.languages.tables import table
from cosyserve_words.languages.zh.around import after, before
from cosyserve_words.languages.zh.numbers import (
    DASH,
    NUMBER,
    SCALE,
    cardinal,
    figures,
    is_counted,
    quantity,
    scaled,
)
from cosyserve_words.languages.zh.script import compiled, hanzi

_PARTS = {"%": "百分之", "‰": "千分之", "‱": "万分之"}
_HALVES = table(
    "½=1/2 ⅓=1/3 ⅔=2/3 ¼=1/4 ¾=3/4 ⅕=1/5 ⅖=2/5 ⅗=3/5 ⅘=4/5 ⅙=1/6 ⅚=5/6 ⅐=1/7 ⅛=1/8 ⅜=3/8 ⅝=5/8 ⅞=7/8 ⅑=1/9 ⅒=1/10"
)
_LATIN_BEFORE = re.compile(r"[A-Za-z][-\s·]?$")
_PRESSURE = compiled(r"(?:血压|高压|低压)[^，。；！？,;!?\d]{0,6}$")
_ONE_BY_ONE = compiled(
    r"\s?(?:[国省县]道|号?(?:房间?|室|病房|教室|包间|包厢|包房|会议室)(?!内|外温)|路"
    r"(?:公交|车|线|站|电车|$|[，。,])|航班|次(?:列车|航班|动车|高铁|特快)|"
    r"[高院]校|工程[院大]|客机|工作制|(?:晚会|大促|购物节)|号段|开头|事件)"
)
_NAMED_BEFORE = compiled(
    r"(?:波音|空客|空中客车|歼|轰|运|标致|奔驰|宝马|骁龙|麒麟|天玑|地球|福特|小米|荣耀|诺基亚|公交|[A-Z0-9]座|栋|幢)-?\s?$"
)
_RESOLUTION = re.compile(r"[pPiI](?![A-Za-z])")


def _signed(sign: str | None) -> str:
    return {"-": "负", "+": "正", "±": "正负"}.get(sign or "", "")


def _percent(match: re.Match[str], _context: Context) -> str:
    part = _PARTS[match["of"]]
    if match[0] == "100%":
        return "百分之百"
    first = f"{_signed(match['sign'])}{part}{cardinal(match['first'])}"
    if not match["last"]:
        return first
    last = cardinal(match["last"])
    return f"{first}到{_signed(match['sign2'])}{part if match['of1'] or match['sign2'] else ''}{last}"


def _fraction(match: re.Match[str], _context: Context) -> str | None:
    above, below = match["above"], match["below"]
    if match["pressure"] or _PRESSURE.search(before(match)):
        return f"{cardinal(above)}，{cardinal(below)}" + ("毫米汞柱" if match["pressure"] else "")
    if re.match(r"[A-Za-z]", after(match)) or int(below) < 2 or len(above) > 4 or len(below) > 7:
        return None
    whole = f"{cardinal(match['whole'])}又" if match["whole"] else ""
    return f"{_signed(match['sign'])}{whole}{cardinal(below)}分之{cardinal(above)}"


def _vulgar(match: re.Match[str], _context: Context) -> str:
    above, below = _HALVES[match["sign"]].split("/")
    if match["sign"] == "½" and not match["whole"] and is_counted(after(match)):
        return "半"
    whole = f"{cardinal(match['whole'])}又" if match["whole"] else ""
    return f"{whole}{cardinal(below)}分之{cardinal(above)}"


def _range(match: re.Match[str], _context: Context) -> str | None:
    """`3-5`: a dash between growing numbers is 到; what does not grow is left to the signs."""
    first, last = match["first"], match["last"]
    scale = match["scale"] or ""
    if "~" not in match["dash"] and "～" not in match["dash"] and not match["scale1"] and _value(first) >= _value(last):
        return None
    follows = after(match)
    if match["dash"] == "-" and len(first) == 1 and last.isdecimal() and len(last) > 2 and not is_counted(follows):
        between = "" if _LATIN_BEFORE.search(before(match)) else "杠"
        return f"{cardinal(first)}{between}{figures(last)}"
    said = scaled(first, match["scale1"] or "", scale + follows)
    return f"{said}到{scaled(last, scale, follows)}"


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _ordinal(match: re.Match[str], _context: Context) -> str:
    numbers = re.split(rf"\s?{DASH}\s?", match[0].strip())
    return "到".join(cardinal(number) for number in numbers)


def _scaled(match: re.Match[str], _context: Context) -> str:
    return scaled(match["number"], match["scale"], after(match))


def _counted_by_w(match: re.Match[str], _context: Context) -> str | None:
    return scaled(match["number"], "万", after(match))


def _number(match: re.Match[str], _context: Context) -> str:
    written, front, follows = match[0], before(match), after(match)
    plain = written.isdecimal()
    if plain and (_leads_with_zero(written) or _stands_for_name(written, front, follows)):
        return figures(written)
    if plain and _LATIN_BEFORE.search(front) and not (front.endswith(" ") and is_counted(follows)):
        return model_number(written)
    return quantity(written, follows)


def _leads_with_zero(written: str) -> bool:
    return len(written) > 1 and written.startswith("0")


def _stands_for_name(written: str, front: str, follows: str) -> bool:
    if len(written) < 3:
        return False
    named = _NAMED_BEFORE.search(front) and not is_counted(follows)
    return bool(named or _ONE_BY_ONE.match(follows) or _RESOLUTION.match(follows))


def model_number(digits: str) -> str:
    """What follows a name in letters: up to two figures and round hundreds as a number, others one by one."""
    if _leads_with_zero(digits):
        return figures(digits)
    if len(digits) <= 2 or (len(digits) <= 4 and digits.endswith("00") and digits[:2] not in {"19", "20"}):
        return quantity(digits)
    return figures(digits)


_INTEGER_BEFORE = r"(?<![\d.,])"
EARLY = (
    hanzi(
        "percent",
        rf"(?<![A-Za-z\d])(?P<sign>[-+±](?=\d))?(?P<first>{NUMBER})\s?(?P<of1>[%‰‱])?\s?{DASH}\s?(?P<sign2>[-+]"
        rf"(?=\d))?(?P<last>{NUMBER})\s?(?P<of>[%‰‱])",
        _percent,
        first="0-9+±\\-",
    ),
    hanzi(
        "percent",
        rf"(?<![A-Za-z\d])(?P<sign>[-+±](?=\d))?(?P<first>{NUMBER})\s?(?P<of>[%‰‱])(?P<last>)(?P<of1>)",
        _percent,
        first="0-9+±\\-",
    ),
    hanzi(
        "fraction",
        r"(?<![A-Za-z\d./])(?P<sign>-)?(?:(?P<whole>\d{1,3})(?:\s|又))?(?P<above>\d{1,5})\s?[/⁄]\s?"
        r"(?P<below>\d{1,7})(?![\d./]\d|\d|/)(?:\s?(?P<pressure>mmHg))?",
        _fraction,
        first="0-9\\-",
    ),
    hanzi(
        "fraction", rf"(?P<whole>\d{{1,3}})?\s?(?P<sign>[{''.join(_HALVES)}])", _vulgar, first="0-9" + "".join(_HALVES)
    ),
)
"""Before money and measures."""

LATE = (
    hanzi("ordinal", rf"(?<=第)\s?\d+(?:\s?{DASH}\s?\d+){{0,5}}(?![.,]?\d)", _ordinal, first="0-9 "),
    hanzi(
        "range",
        rf"{_INTEGER_BEFORE}(?<![A-Za-z]-)(?P<first>{NUMBER})(?P<scale1>{SCALE})?\s?(?P<dash>{DASH})\s?"
        rf"(?P<last>{NUMBER})(?P<scale>{SCALE})?(?!\s?{DASH}?\d)",
        _range,
    ),
    hanzi("number", rf"(?P<number>{NUMBER})\s?(?P<scale>{SCALE})(?!分之)", _scaled),
    hanzi("number", rf"(?P<number>{NUMBER})w\+?(?![A-Za-z\d])", _counted_by_w),
    hanzi("number", NUMBER, _number),
)
"""After all other rules that begin with a figure."""
