"""English numbers: ranges, scores, fractions, ordinals, years, decimals, plain ones."""

import re

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.around import END, MINUS, NUMBER, SCALE, START, WHOLE, counts, is_year_here, number
from cosyserve_words.languages.en.numbers import MOST_FIGURES, cardinal, digits, ordinal, pair, year

_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}
_FIRST, _HINT = "-−.0-9", "[-−.]?[0-9]"
_STOP = r"(?![0-9])(?![.,][0-9])"


def _ordinal(found: re.Match[str], context: Context) -> str:
    del context
    figures, suffix = found["number"].replace(",", ""), found["suffix"]
    teens = len(figures) > 1 and figures[-2] == "1"
    right = "th" if teens else _SUFFIXES.get(int(figures[-1]), "th")
    if suffix.lower() != right:
        return f"{cardinal(figures)} {suffix.lower()}"
    return ordinal(figures)


def _range(found: re.Match[str], context: Context) -> str:
    del context
    said = f"{_plain(found['from'])} to {_plain(found['to'])}"
    return f"{said} percent" if found["percent"] else said


def _years(found: re.Match[str], context: Context) -> str | None:
    """`1961-1965`, `1960-80`."""
    del context
    first, last = found["from"], found["to"]
    if len(last) == 2 and int(last) <= int(first[2:]):
        return None
    if (len(last) == 4 and last <= first) or (" to " in found[0] and (len(last) == 2 or counts(found))):
        return None
    return f"{year(first)} to {pair(last) if len(last) == 2 else year(last)}"


def _about(found: re.Match[str], context: Context) -> str:
    del context
    return f"about {_plain(found['number'])}"


def _hash(found: re.Match[str], context: Context) -> str:
    """`#5`."""
    del context
    figures = found["number"]
    return f"number {grouped(figures) if len(figures) > 4 else _plain(figures)}"


def _power(found: re.Match[str], context: Context) -> str:
    """`3.2e-4`."""
    del context
    minus = "minus " if found["sign"] == "-" else ""
    return f"{number(found['number'])} times ten to the {minus}{cardinal(found['power'])}"


def _by(found: re.Match[str], context: Context) -> str:
    """`4x4`."""
    del context
    return " by ".join(number(part) for part in re.split("[xX×]", found[0]))


def _scaled(found: re.Match[str], context: Context) -> str:
    del context
    return f"{'minus ' if found['minus'] else ''}{number(found['number'])} {found['scale']}"


def _number(found: re.Match[str], context: Context) -> str:
    del context
    written = found["number"]
    minus = "minus " if found["minus"] else ""
    if len(written) == 4 and written.isdecimal() and not minus and _is_year(found, written):
        return year(written)
    return minus + _plain(written)


def _is_year(found: re.Match[str], written: str) -> bool:
    """Whether four figures are said in pairs."""
    if is_year_here(found):
        return "1000" < written < "3000"
    return "1100" <= written < "3000" and not counts(found)


def _plain(written: str) -> str:
    """A number by itself; one that nobody counts is read figure by figure."""
    whole = written.replace(",", "")
    if whole.isdecimal() and "," not in written:
        if len(whole) > 1 and whole[0] == "0":
            return digits(whole)
        if 9 < len(whole) <= MOST_FIGURES and not whole.endswith("000000"):
            return grouped(whole)
    return number(written)


def grouped(figures: str) -> str:
    """Figures one by one, in groups as people say them."""
    size = 4 if len(figures) % 4 == 0 or len(figures) > 12 else 3
    if len(figures) <= 6:
        return digits(figures)
    groups = [figures[place : place + size] for place in range(0, len(figures), size)]
    if len(groups[-1]) == 1:
        groups[-2:] = ["".join(groups[-2:])]
    return ", ".join(map(digits, groups))


RULES: tuple[Rule, ...] = (
    rule("number", rf"{START}(?P<number>{NUMBER})[eE](?P<sign>[-+]?)(?P<power>[0-9]{{1,3}})(?![0-9A-Za-z])", _power),
    rule("number", rf"{START}{NUMBER}(?:[xX×]{NUMBER}){{1,2}}(?![0-9A-Za-z])", _by),
    rule("ordinal", rf"{START}(?P<number>{WHOLE})(?P<suffix>(?i:st|nd|rd|th))(?![A-Za-z0-9])", _ordinal),
    rule("ratio", rf"{START}(?P<from>{NUMBER})[:∶：](?P<to>{NUMBER})(?P<percent>)(?![0-9A-Za-z:])", _range),
    rule("number", rf"(?<![0-9A-Za-z~])[~≈] ?(?P<number>{NUMBER})", _about, first="~≈", hint="[~≈] ?[0-9]"),
    rule("number", r"#(?P<number>[0-9]{1,20})(?![0-9A-Za-z])", _hash, first="#", hint="#[0-9]"),
    rule(
        "range",
        rf"{START}(?P<from>1[0-9]{{3}}|20[0-9]{{2}})(?: ?[-–—] ?| to )(?P<to>[12][0-9]{{3}}|[0-9]{{2}}){END}",
        _years,
    ),
    rule(
        "range",
        rf"{START}(?P<from>{NUMBER})%?(?: ?[-–—~] ?| to )(?P<to>{NUMBER})(?P<percent> ?%)?(?![0-9A-Za-z=])"
        rf"(?! ?[-–—=])(?![.,:][0-9])",
        _range,
    ),
    rule(
        "number",
        rf"{MINUS}{START}(?P<number>{NUMBER})[- ](?P<scale>{SCALE})\b",
        _scaled,
        first=_FIRST,
        hint=_HINT,
    ),
)
PLAIN: tuple[Rule, ...] = (
    rule("number", rf"{MINUS}(?<![0-9])(?P<number>{NUMBER}){_STOP}", _number, first=_FIRST, hint=_HINT),
    rule("number", r"(?P<minus>)(?P<number>[0-9]+)", _number),
)
