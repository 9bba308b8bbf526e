"""English dates: the month first, as in the United States, unless the day is written first."""

import re

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.around import END, START, before
from cosyserve_words.languages.en.numbers import cardinal, ordinal, pair, year

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SHORT = "jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec"
_MONTH = rf"(?i:{'|'.join(MONTHS)}|(?:{_SHORT})\b\.?)"
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])"
_NUMERIC = r"(?:1[0-2]|0?[1-9])"
_YEAR = r"(?:1[0-9]{3}|2[01][0-9]{2})"
_ERA = re.compile(r"(?i)b\.? ?c(?:\.? ?e)?|a\.? ?d|c\.? ?e")
_TENS = {"1": "tens", "2": "twenties", "3": "thirties", "4": "forties", "5": "fifties", "6": "sixties"} | {
    "7": "seventies", "8": "eighties", "9": "nineties", "0": "hundreds",
}  # fmt: skip
_QUARTERS = ("first", "second", "third", "fourth")
WEEKDAYS = {
    "mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "thur": "Thursday",
    "thurs": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday",
}  # fmt: skip


def month(written: str) -> str:
    """A month's name, of figures or of three letters at least."""
    if written.isdecimal():
        return MONTHS[int(written) - 1]
    return next(name for name in MONTHS if name[:3].lower() == written[:3].lower())


def spoken_year(written: str) -> str:
    """A year; of two figures after a date."""
    return pair(written) if len(written) == 2 else year(written)


def _month_first(found: re.Match[str], context: Context) -> str | None:
    del context
    name, day, comma, written = found["month"], found["day"], found["comma"] or "", found["year"]
    if name == "may" or (name.lower() == "march" and name.islower() and not (written or before(found, 1) == "")):
        return None  # you may 5 times
    said = f"{month(name)} {ordinal(day.lstrip('0'))}"
    return f"{said}{comma.strip()} {spoken_year(written)}" if written else said


def _day_first(found: re.Match[str], context: Context) -> str:
    del context
    said = f"{ordinal(found['day'].lstrip('0'))} of {month(found['month'])}"
    if not re.search(r"(?i)\bthe $", before(found)):
        said = f"the {said}"
    comma = (found["comma"] or "").strip()
    return f"{said}{comma} {spoken_year(found['year'])}" if found["year"] else said


def _month_and_year(found: re.Match[str], context: Context) -> str | None:
    del context
    return f"{month(found['month'])} {year(found['year'])}"


def _iso(found: re.Match[str], context: Context) -> str | None:
    del context
    number, day = int(found["month"]), int(found["day"])
    if not (0 < number <= 12 and 0 < day <= 31):
        return None
    return f"the {ordinal(str(day))} of {MONTHS[number - 1]} {year(found['year'])}"


def _figures(found: re.Match[str], context: Context) -> str | None:
    del context
    first, second, written = int(found["first"]), int(found["second"]), found["year"]
    if first > 12 >= second > 0 and first <= 31:
        return f"the {ordinal(str(first))} of {MONTHS[second - 1]} {spoken_year(written)}"
    if not (0 < first <= 12 and 0 < second <= 31):
        return None
    return f"{MONTHS[first - 1]} {ordinal(str(second))} {spoken_year(written)}"


def _short(found: re.Match[str], context: Context) -> str | None:
    """`on 3/14`."""
    del context
    if not re.search(r"(?i)\b(?:on|by|since|until|dated|due) $", before(found)):
        return None
    return f"{MONTHS[int(found['first']) - 1]} {ordinal(found['second'].lstrip('0'))}"


def decade(written: str) -> str:
    """`1980` or `80` as nineteen eighties, eighties."""
    written = written.strip()
    tens = _TENS[written[-2]]
    if len(written) == 2:
        return tens
    if written[1:] == "000":
        return f"{cardinal(written[0])} thousands"
    return f"{cardinal(written[:2])} {tens}"


def _decade(found: re.Match[str], context: Context) -> str | None:
    del context
    if found["to"] is None:
        return decade(found["from"])
    return f"{decade(found['from'])} to {decade(found['to'])}"


def _era(found: re.Match[str], context: Context) -> str:
    del context
    era = "".join(letter for letter in found["era"] if letter.isalpha()).upper()
    written = found["year"]
    return f"{year(written) if len(written) == 4 else _short_year(written)} {era}"


def _short_year(written: str) -> str:
    if len(written) == 3 and written[1] != "0":
        return f"{cardinal(written[0])} {cardinal(written[1:])}"
    return cardinal(written)


def _quarter(found: re.Match[str], context: Context) -> str:
    del context
    number = found["after"] or found["before"]
    name = "half" if found["kind"] == "H" else "quarter"
    said = spoken_year(found["year"]) if len(found["year"]) == 4 else cardinal(found["year"])
    return f"the {_QUARTERS[int(number) - 1]} {name} of {said}"


def _weekday(found: re.Match[str], context: Context) -> str:
    del context
    said = [WEEKDAYS[found[1].lower()]]
    if found[2]:
        said.append(WEEKDAYS[found[2].lower()])
    return " to ".join(said)


_LETTER, _MONTH_HINT = "A-Za-z", rf"(?i:\b(?:{_SHORT}|may))"
_DAYS = "|".join(name.capitalize() for name in sorted(WEEKDAYS, key=len, reverse=True))
RULES: tuple[Rule, ...] = (
    rule(
        "date",
        rf"\b(?P<month>{_MONTH})(?: |-)(?P<day>{_DAY})(?i:st|nd|rd|th)?{END}(?:(?P<comma>,? ?|-)"
        rf"(?P<year>{_YEAR}){END})?",
        _month_first,
        first=_LETTER,
        hint=_MONTH_HINT,
    ),
    rule("date", rf"\b(?P<month>{_MONTH}),? (?P<year>{_YEAR}){END}", _month_and_year, first=_LETTER, hint=_MONTH_HINT),
    rule(
        "date",
        rf"{START}(?P<day>{_DAY})(?i:st|nd|rd|th)?(?: |-)(?:of )?(?P<month>{_MONTH})(?![A-Za-z])"
        rf"(?:(?P<comma>,? ?|-)(?P<year>{_YEAR}){END})?",
        _day_first,
    ),
    rule(
        "date", rf"{START}(?P<year>{_YEAR})(?P<sep>[-/.])(?P<month>[01]?[0-9])(?P=sep)(?P<day>[0-3]?[0-9]){END}", _iso
    ),
    rule(
        "date",
        rf"{START}(?P<first>{_DAY})(?P<sep>[-/.])(?P<second>{_DAY})(?P=sep)(?P<year>{_YEAR}){END}",
        _figures,
    ),
    rule("date", rf"{START}(?P<first>{_NUMERIC})/(?P<second>{_DAY})(?P<year>)(?![0-9A-Za-z/])", _short),
    rule("date", rf"{START}(?P<first>{_DAY})/(?P<second>{_DAY})/(?P<year>[0-9]{{2}}){END}", _figures),
    rule(
        "date",
        r"(?<![0-9A-Za-z_.,])['’]?(?P<from>[12][0-9][0-9]0 ?|[1-9]0)['’]?s(?![A-Za-z])"
        r"(?: ?[-–] ?['’]?(?P<to>[12][0-9][0-9]0|[1-9]0)['’]?s(?![A-Za-z]))?",
        _decade,
        first="0-9'’",
        hint="['’]?[0-9]",
    ),
    rule("date", rf"{START}(?P<year>[0-9]{{1,4}}) ?(?P<era>B\.? ?C\.? ?E|B\.? ?C|A\.? ?D|C\.E)\b(?!\w)", _era),
    rule("date", rf"{START}(?P<before>[1-4])(?P<kind>[QH])(?P<after>)(?P<year>{_YEAR}|[0-9]{{2}}){END}", _quarter),
    rule(
        "date",
        rf"\b(?P<kind>[QH])(?P<after>[1-4])(?P<before>) (?P<year>{_YEAR}){END}",
        _quarter,
        first="QH",
        hint=r"\b[QH][1-4]",
    ),
    rule(
        "date",
        rf"\b({_DAYS})\.(?: ?[-–] ?({_DAYS})\b\.?)?(?= ?[-–,]| [0-9a-z]|$)(?<!Sat\.$)(?<!Sun\.$)(?<!Wed\.$)",
        _weekday,
        first="MTWFS",
        hint=rf"\b(?:{_DAYS})\.",
    ),
)
