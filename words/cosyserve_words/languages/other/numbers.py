"""Numbers as a language writes them, in its words."""

import re
from decimal import Decimal
from functools import lru_cache

from num2words import num2words

from cosyserve_words.languages.tables import table

SAME = {"kk": "kz", "nb": "no", "nn": "no"}
"""Where num2words has another code."""
_FAILS = (NotImplementedError, OverflowError, ValueError, TypeError, IndexError, KeyError, AttributeError)
_MOST_FIGURES = 24
_POINTS = table("es=coma it=virgola tr=virgül vi=phẩy ar=فاصلة fa=ممیز bn=দশমিক cy=pwynt")
"""The decimal sign where num2words has no fractions, wrong ones, or another word."""
_MINUS = table("cs=minus pl=minus sk=mínus vi=âm bn=ঋণাত্মক")
"""Where num2words fails below zero."""


@lru_cache(maxsize=1024)
def words(number: str, code: str, form: str = "cardinal", **more: str) -> str:
    """Words for a number with a point at most, or "" where num2words has none."""
    if len(number) > _MOST_FIGURES:
        return ""
    if number.startswith("-") and code in _MINUS:
        return f"{_MINUS[code]} {words(number[1:], code)}"
    if "." in number and code in _POINTS:
        whole, _, part = number.partition(".")
        return " ".join([words(whole, code), _POINTS[code], *(words(figure, code) for figure in part)])
    value = int(number) if number.lstrip("-").isdecimal() else Decimal(number)
    try:
        return " ".join(str(num2words(value, lang=SAME.get(code, code), to=form, **more)).split())
    except _FAILS:
        return ""


def written_number(decimal: str, group: str) -> str:
    """A pattern of the numbers of a language: `1.234,5` or `1 234,5` or `1,234.5`."""
    decimal = re.escape(decimal)
    return rf"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+(?![0-9])|[0-9]+)(?:{decimal}[0-9]+)?"


def plain(written: str, decimal: str, group: str) -> str:
    """`1.234,5` as `1234.5`."""
    return re.sub(group, "", written).replace(decimal, ".")
