"""Dates, years and spans of years."""

import re

from cosyserve_words.language import Context
from cosyserve_words.languages.zh.around import after, before
from cosyserve_words.languages.zh.numbers import DASH, cardinal, figures, is_counted, quantity
from cosyserve_words.languages.zh.script import compiled, hanzi

_YEAR = r"(?:1[5-9]|20|21)\d\d"
_MONTH = r"(?:1[0-2]|0?[1-9])"
_DAY = r"(?:3[01]|[12]\d|0?[1-9])"
_ALONE = r"(?<![\d.,/-])"
_ENDS = r"(?![.,/-]?\d)"
_HAN_DAY = r"(?:\s?(?P<day>\d{1,2})\s?(?P<unit>[日号]))?"

_ERA = compiled(r"(?:公元前?|西元前?|纪元前?|[前民])\s?$")
_LASTS = compiled(r"(?:之?前|以前|以?来|[多余]|的?历史|之?久|间|寿命|大计|一遇|[内后]|以[上下内])")
_LASTS_SURELY = compiled(r"(?:之?前|[多余]|的?历史|之?久|寿命|一遇)")
_OF_YEARS = compiled(r"\s?(?:[学财]?年度?|赛季|[季届款版]|奥运|巴黎|世界杯|欧洲杯|亚运|世博|[春夏秋冬]|Q[1-4]|H[12])")
_SPAN_OF_YEARS = compiled(r"\s?(?:[学财]?年度?|赛季)")
_COUNTED = compiled(r"\s?(?:[多余来名人元万亿块米公千克吨平%]|美元)")


def _date(year: str, month: str, day: str | None = None) -> str:
    return f"{figures(year)}年{cardinal(month)}月" + (f"{cardinal(day)}日" if day else "")


def _year_month_day(match: re.Match[str], _context: Context) -> str:
    return _date(match["year"], match["month"], match["day"])


def _day_month_year(match: re.Match[str], _context: Context) -> str | None:
    """Days come first in most of the world; where the second number can be no month, months do."""
    first, second = match["first"], match["second"]
    if int(second) > 12:
        first, second = second, first
    return _date(match["year"], second, first) if int(second) <= 12 else None


def _year_month(match: re.Match[str], _context: Context) -> str | None:
    follows = after(match)
    return None if _COUNTED.match(follows) or _SPAN_OF_YEARS.match(follows) else _date(match["year"], match["month"])


def _month_day(match: re.Match[str], _context: Context) -> str | None:
    return None if is_counted(after(match)) else f"{cardinal(match['month'])}月{cardinal(match['day'])}日"


def _year(match: re.Match[str], _context: Context) -> str:
    written, follows = match["year"], after(match)
    dated = _is_dated(written, before(match), follows)
    return (figures(written) if dated else quantity(written, "年" + follows)) + "年"


def _is_dated(written: str, front: str, follows: str) -> bool:
    """Whether a number before 年 names a year; else it counts them."""
    if written.startswith("0") or _ERA.search(front):
        return len(written) > 1
    if len(written) == 4:
        rounded = written.endswith("00")
        surely = written in {"1000", "3000"} or written > "3000"
        return not surely and not (rounded and _LASTS_SURELY.match(follows))
    return len(written) == 2 and written >= "70" and not _LASTS.match(follows)


def _year_of_month(match: re.Match[str], _context: Context) -> str:
    return f"{figures(match['year'])}年"


def _month_of(match: re.Match[str], _context: Context) -> str:
    return f"{cardinal(match['month'])}月" + (f"{cardinal(match['day'])}{match['unit']}" if match["day"] else "")


def _day(match: re.Match[str], _context: Context) -> str:
    return cardinal(match["day"]) + match["unit"]


def _decade(match: re.Match[str], _context: Context) -> str:
    written = match["year"]
    counted = len(written) == 2 and not written.startswith("0")
    return (cardinal(written) if counted else figures(written)) + (match["unit"] or "年代")


def _born(match: re.Match[str], _context: Context) -> str:
    return figures(match["year"]) + match["unit"]


def _western(match: re.Match[str], _context: Context) -> str:
    return f"公元{'前' if match['era'] else ''}{figures(match['year'])}年"


def _years(match: re.Match[str], _context: Context) -> str | None:
    first, last, follows = match["first"], match["last"], after(match)
    of_years = _SPAN_OF_YEARS.match(follows)
    if not of_years and (len(last) != 4 or last < first or is_counted(follows) or _COUNTED.match(follows)):
        return None
    return f"{figures(first)}到{figures(last)}"


def _bare_year(match: re.Match[str], _context: Context) -> str | None:
    bracketed = before(match).endswith(("(", "（", "《")) and after(match).startswith((")", "）", "》"))
    return figures(match[0]) if bracketed or _OF_YEARS.match(after(match)) else None


RULES = (
    hanzi(
        "date",
        rf"{_ALONE}(?P<year>{_YEAR})(?P<sep>[-/.·])(?P<month>{_MONTH})(?P=sep)(?P<day>{_DAY}){_ENDS}(?:T(?=\d))?",
        _year_month_day,
    ),
    hanzi(
        "date",
        rf"{_ALONE}(?P<first>{_DAY})(?P<sep>[-/.])(?P<second>{_DAY})(?P=sep)(?P<year>(?:19|20)\d\d){_ENDS}",
        _day_month_year,
    ),
    hanzi("date", rf"{_ALONE}(?P<year>\d\d)/(?P<month>{_MONTH})/(?P<day>{_DAY}){_ENDS}", _year_month_day),
    hanzi("date", rf"{_ALONE}(?P<year>{_YEAR})[-/.](?P<month>1[0-2]|0[1-9])(?P<day>){_ENDS}", _year_month),
    hanzi("date", rf"{_ALONE}(?P<month>1[0-2]|0[1-9])[-/.](?P<year>(?:19|20)\d\d){_ENDS}", _year_month),
    hanzi("date", rf"{_ALONE}(?P<month>0[1-9])[-/.](?P<day>3[01]|[12]\d|0[1-9]){_ENDS}(?!%)", _month_day),
    hanzi("date", rf"{_ALONE}(?P<month>1[0-2])/(?P<day>0[1-9]|1){_ENDS}", _month_day),
    hanzi("date", r"(?<!\d)(?P<year>\d{1,3}0)(?P<unit>年代)", _decade),
    hanzi("date", r"(?<!\d)(?P<year>1\d\d0|20\d0)(?P<unit>)s(?![A-Za-z\d])", _decade),
    hanzi("date", r"(?<!\d)(?P<year>\d\d(?:\d\d)?)\s?年(?=\s?\d{1,2}\s?月)", _year_of_month),
    hanzi("date", r"(?<!\d)(?P<year>\d{1,4})\s?年", _year),
    hanzi("date", rf"(?<!\d)(?P<month>\d{{1,2}})\s?月(?![球亮光饼]){_HAN_DAY}", _month_of),
    hanzi("date", r"(?<!\d)(?P<day>3[01]|[12]\d|0?[1-9])\s?(?P<unit>[日号])(?!楼)", _day),
    hanzi("date", r"(?<!\d)(?P<year>[05-9][05]|[12]0)(?P<unit>后)(?![天年日的第来半])", _born),
    hanzi("date", r"(?<!\d)(?P<year>\d{1,4})\s?(?:(?P<era>[Bb])\.?[Cc]|[Aa]\.?[Dd])\.?(?![A-Za-z])", _western),
    hanzi("range", rf"{_ALONE}(?P<first>(?:1[5-9]|20)\d\d)\s?{DASH}\s?(?P<last>\d{{4}}|\d\d){_ENDS}", _years),
    hanzi("date", rf"{_ALONE}(?:19|20)\d\d{_ENDS}", _bare_year),
)
