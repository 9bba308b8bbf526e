"""Dates, years and times of day as each language writes and says them."""

import re
from collections.abc import Callable

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.other import forms, names
from cosyserve_words.languages.other.language import Other
from cosyserve_words.languages.other.numbers import words

_Reader = Callable[[re.Match[str], Context], str | None]
_DAY = r"(?P<day>3[01]|[12][0-9]|0?[1-9])"
_MONTH = r"(?P<month>1[0-2]|0?[1-9])"
_YEAR = r"(?P<year>(?:1[0-9]|20|21)[0-9]{2})"
_GERMAN_WEAK = re.compile(r"\b(?:am|vom|zum|dem|den|ab|bis|seit)\s$", re.IGNORECASE)
_GERMAN_ARTICLE = re.compile(r"\bder\s$", re.IGNORECASE)
_LAST_WORD = re.compile(r"([^\W\d_]+)\s$")
_OF = {"es": " de ", "pt": " de ", "ca": " de "}
"""Between day, month and year."""
_ORDINAL_DAYS: dict[str, dict[str, str]] = {
    "sv": {}, "da": {}, "no": {}, "nb": {}, "pl": {"y": "ego", "i": "iego"}, "uk": {"ий": "ого", "ій": "ього"},
}  # fmt: skip
"""Languages whose days are ordinals, and how these end in a date."""
_YEAR_WORDS = {"год": "n", "года": "g", "году": "p", "г.": "g"}


def date_rules(language: Other) -> tuple[Rule, ...]:
    """Numeric dates, days before months, years and times; none where months have no names, as in Japanese."""
    if all(name[:1].isdecimal() for name in names.months(language.code)):
        return ()
    months = "|".join(re.escape(name) for name in sorted(names.months(language.code), key=len, reverse=True))
    found = [
        rule("date", rf"(?<![0-9.])(?P<year>(?:19|20)[0-9]{{2}})-{_MONTH}-{_DAY}(?![0-9])", _numeric(language)),
        rule("date", rf"(?<![0-9.,]){_DAY}(?P<sep>[./-]){_MONTH}(?P=sep){_YEAR}(?![0-9])", _numeric(language)),
        rule(
            "date",
            rf"(?i)(?<![0-9.,])(?P<day>3[01]|[12][0-9]|0?[1-9])(?:\.|er|º)?(?P<of>\s(?:de\s)?)(?=(?:{months})(?![^\W_]))",
            _day(language),
        ),
        rule(
            "time",
            r"(?<![0-9:.,])(?P<hour>[01]?[0-9]|2[0-4])[:h](?P<minute>[0-5][0-9])(?::[0-5][0-9])?(?![0-9:])(?:\s?(?:Uhr|uur|h)(?![^\W_]))?",
            _time(language),
        ),
    ]
    if language.code == "de":
        found.append(rule("date", rf"(?<![0-9.,]){_DAY}\.{_MONTH}\.(?![0-9])", _without_year(language)))
        found.append(
            rule(
                "time",
                r"(?<![0-9:.,])(?P<hour>[01]?[0-9]|2[0-4])(?:\.(?P<minute>[0-5][0-9]))?\sUhr(?![^\W_])",
                _time(language),
            )
        )
    if language.code == "ru":
        found.append(
            rule(
                "date",
                r"(?<![0-9.,])(?P<year>[12][0-9]{3})\s(?P<word>года|году|год|г\.)(?![^\W_])",
                _russian_year(language),
            )
        )
    if language.code in forms.NINETEEN_HUNDREDS:
        found.append(rule("date", r"(?<![0-9.,])1[1-9][0-9]{2}(?![.,]?[0-9])(?!\s?[%€$])", _hundreds(language, months)))
    return tuple(found)


def _numeric(language: Other) -> _Reader:
    def read(match: re.Match[str], _context: Context) -> str:
        code, of = language.code, _OF.get(language.code, " ")
        day = _day_words(language, match["day"], match.string[: match.start()])
        month = re.sub("[0-9]+", lambda found: language.cardinal(found[0]), names.month(int(match["month"]), code))
        return f"{day}{of}{month}{of}{_year_words(language, match['year'])}"

    return read


def _without_year(language: Other) -> _Reader:
    def read(match: re.Match[str], _context: Context) -> str:
        day = _day_words(language, match["day"], match.string[: match.start()])
        return f"{day} {names.month(int(match['month']), language.code)}"

    return read


def _year_words(language: Other, year: str) -> str:
    if language.code == "ru":
        return f"{words(year, 'ru', 'ordinal', case='g', gender='m') or language.cardinal(year)} года"
    return (
        words(year, language.code, "year") if language.code in forms.NINETEEN_HUNDREDS else ""
    ) or language.cardinal(year)


def _day(language: Other) -> _Reader:
    def read(match: re.Match[str], _context: Context) -> str:
        return _day_words(language, match["day"], match.string[: match.start()]) + match["of"]

    return read


def _day_words(language: Other, day: str, front: str) -> str:
    number, code = str(int(day)), language.code
    if code == "de":
        ending = "n" if _GERMAN_WEAK.search(front[-8:]) else "" if _GERMAN_ARTICLE.search(front[-8:]) else "r"
        return language.ordinal(number) + ending
    if code == "ru":
        return words(number, code, "ordinal", case="g", gender="n") or language.ordinal(number)
    if number == "1" and code in {"fr", "it", "pt", "es"}:
        return {"fr": "premier", "it": "primo", "pt": "primeiro", "es": "uno"}[code]
    ordinal = _ORDINAL_DAYS.get(code)
    if ordinal is not None:
        return " ".join(_genitive(word, ordinal) for word in language.ordinal(number).split())
    return language.cardinal(number)


def _genitive(word: str, endings: dict[str, str]) -> str:
    """A part of a Slavic ordinal in the case of dates."""
    return next((word.removesuffix(old) + new for old, new in endings.items() if word.endswith(old)), word)


def _time(language: Other) -> _Reader:
    def read(match: re.Match[str], _context: Context) -> str:
        hour, minute = str(int(match["hour"])), match["minute"] or "00"
        code = language.code
        said = forms.ONE_HOUR[code] if hour == "1" and code in forms.ONE_HOUR else language.cardinal(hour)
        form = forms.HOURS.get(code, "{h} {m}") if minute != "00" else forms.FULL_HOURS.get(code, "{h}")
        if hour in {"0", "1"} and code == "fr":
            form = form.replace("heures", "heure")
        return form.format(h=said, m=language.cardinal(str(int(minute))))

    return read


def _russian_year(language: Other) -> _Reader:
    def read(match: re.Match[str], _context: Context) -> str:
        word = "года" if match["word"] == "г." else match["word"]
        said = words(match["year"], language.code, "ordinal", case=_YEAR_WORDS[match["word"]], gender="m")
        return f"{said or language.cardinal(match['year'])} {word}"

    return read


def _hundreds(language: Other, months: str) -> _Reader:
    """A year is told in hundreds behind a month or a word such as `seit`; else it may count something."""
    month = re.compile(rf"(?:{months})\s$", re.IGNORECASE)

    def read(match: re.Match[str], _context: Context) -> str | None:
        front = match.string[: match.start()][-24:]
        word = _LAST_WORD.search(front)
        told = month.search(front) or (word and word[1].lower() in forms.YEARS[language.code])
        return words(match[0], language.code, "year") or None if told else None

    return read
