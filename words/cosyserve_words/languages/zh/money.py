"""Money: a sign or a code of a currency, and a number."""

import re
from decimal import Decimal
from functools import cache

from babel import Locale

from cosyserve_words.language import Context
from cosyserve_words.languages.tables import table, words
from cosyserve_words.languages.zh.around import after
from cosyserve_words.languages.zh.numbers import DASH, NUMBER, scaled
from cosyserve_words.languages.zh.script import hanzi

_SIGNS = table(
    "HK$=港元 US$=美元 NT$=新台币 AU$=澳元 A$=澳元 CA$=加元 C$=加元 S$=新加坡元 R$=雷亚尔 $=美元 ¥=元 ￥=元 €=欧元 "
    "£=英镑 ₩=韩元 ₽=卢布 ฿=泰铢 ₫=越南盾 ₹=卢比 ₺=里拉 ₱=比索 ₿=比特币 ¢=美分"
)
_SHORTER = {"AUD": "澳元", "CAD": "加元", "RMB": "人民币", "RUB": "卢布", "INR": "卢比"}
"""What people say, where CLDR has the long name."""
_SCALES = {"k": 10**3, "K": 10**3, "m": 10**6, "M": 10**6, "b": 10**9, "B": 10**9, "bn": 10**9, "w": 10**4}
CODES = frozenset(words("CNY RMB USD HKD EUR GBP JPY KRW TWD AUD CAD SGD CHF THB MOP NZD RUB INR MYR VND"))
_CODE = f"(?:{'|'.join(sorted(CODES))})"
_SIGN = "(?:" + "|".join(re.escape(sign) for sign in _SIGNS) + ")"
_ZEROS = re.compile(r"(\.\d*?)0+$")


@cache
def _name(currency: str) -> str:
    return _SIGNS.get(currency) or _SHORTER.get(currency) or str(Locale("zh").currencies[currency])


def _amount(number: str, scale: str, follows: str) -> str:
    """`12.50` is 十二点五: nobody says the zero of money."""
    if scale in {"万", "亿", "万亿", "千", "百万", "千万"}:
        return scaled(number, scale, follows)
    shorter = _ZEROS.sub(r"\1", number).rstrip(".") if "." in number else number
    if scale not in _SCALES:
        return scaled(shorter, scale, follows)
    return scaled(f"{(Decimal(shorter.replace(',', '')) * _SCALES[scale]).normalize():f}", "", follows)


def _money(match: re.Match[str], _context: Context) -> str:
    name = _name(match["currency"])
    minus = "负" if match["minus"] else ""
    follows = name + after(match)
    said = _amount(match["number"], match["scale"] or "", follows)
    if match["last"]:
        said += "到" + _amount(match["last"], match["scale2"] or "", follows)
    return f"{minus}{said}{name}"


def _yuan(match: re.Match[str], _context: Context) -> str:
    return _amount(match[0].strip(), "", "元")


_AMOUNT = r"(?P<number>{n})\s?(?P<scale>{s})?(?:\s?{d}\s?(?:{c}\s?)?(?P<last>{n})\s?(?P<scale2>{s})?)?".format(
    n=NUMBER, s="(?:万亿|百万|千万|[万亿千]|(?:[kKmMbBw]|bn)(?![A-Za-z]))", d=DASH, c=_SIGN
)
RULES = (
    hanzi("money", r"(?:\d{1,3}(?:,\d{3})+|\d+)\.\d?0(?=\s?元)", _yuan),
    hanzi(
        "money",
        rf"(?P<minus>-)?(?P<currency>{_SIGN})\s?{_AMOUNT}",
        _money,
        first="$¥￥€£₩₽฿₫₹₺₱₿HUNACSR\\-",
        hint=rf"-?{_SIGN}\s?\d",
    ),
    hanzi(
        "money",
        rf"(?<![A-Za-z])(?P<minus>)(?P<currency>{_CODE})\s?{_AMOUNT}",
        _money,
        first="A-Z",
        hint=rf"{_CODE}\s?\d",
    ),
    hanzi("money", rf"(?P<minus>-)?{_AMOUNT}\s?(?P<currency>{_CODE}|[€¢])(?![A-Za-z])", _money, first="0-9\\-"),
)
