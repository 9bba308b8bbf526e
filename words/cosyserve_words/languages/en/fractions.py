"""English fractions."""

import re

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.around import START, WHOLE, number
from cosyserve_words.languages.en.numbers import cardinal, ordinal

VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6",
    "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
_FIXED = {"24/7": "twenty four seven", "9/11": "nine eleven", "50/50": "fifty fifty", "50-50": "fifty fifty",
"20/20": "twenty twenty"} | {
    "7/11": "seven eleven", "401(k)": "four oh one k", "403(b)": "four oh three b",
}  # fmt: skip


def parts(top: str, below: str) -> str:
    """`3`, `4` as three quarters."""
    top, below = top.replace(",", ""), below.replace(",", "")
    one = top.lstrip("0") == "1"
    if below.strip("0") == "" or below == "1":
        return f"{cardinal(top)} over {cardinal(below)}"
    if below == "2":
        return f"{cardinal(top)} {'half' if one else 'halves'}"
    name = "quarter" if below == "4" else ordinal(below)
    return f"{cardinal(top)} {name}{'' if one else 's'}"


def _fraction(found: re.Match[str], context: Context) -> str | None:
    del context
    if found[0] in _FIXED:
        return _FIXED[found[0]]
    whole, top, below = found["whole"], found["top"], found["below"]
    said = parts(top, below)
    if whole:
        return f"{cardinal(whole)} and {'a half' if (top, below) == ('1', '2') else said}"
    return said


def _vulgar(found: re.Match[str], context: Context) -> str:
    del context
    top, below = VULGAR[found["sign"]].split("/")
    if found["whole"]:
        return f"{number(found['whole'])} and {'a half' if below == '2' else parts(top, below)}"
    if below == "2" and re.match(" [a-z]", found.string[found.end() :]):
        return "half" if re.match(" (?:an?|the)\\b", found.string[found.end() :]) else "half a"
    return parts(top, below)


RULES: tuple[Rule, ...] = (
    rule("range", r"(?<![0-9])50-50(?![0-9])", lambda found, _: _FIXED[found[0]]),
    rule("name", r"\b40[13]\([kb]\)", lambda found, _: _FIXED[found[0]]),
    rule(
        "fraction",
        rf"(?:{START}(?P<whole>{WHOLE}) ?)?(?P<sign>[{''.join(VULGAR)}])",
        _vulgar,
        first="".join(["0-9", *VULGAR]),
        hint=f"[0-9{''.join(VULGAR)}]",
    ),
    rule(
        "fraction",
        rf"{START}(?:(?P<whole>[0-9]{{1,4}}) )?(?P<top>[0-9]{{1,6}}) ?[/⁄] ?(?P<below>[0-9]{{1,6}})"
        r"(?i:th|ths|rd|rds|nd|nds|st)?(?![0-9A-Za-z/])(?![.][0-9])",
        _fraction,
    ),
)
