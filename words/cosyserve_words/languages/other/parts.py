"""Fractions, ratios, and numbers whose point is no decimal sign of the language."""

import re
import unicodedata
from collections.abc import Callable

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.other import names
from cosyserve_words.languages.other.language import Other
from cosyserve_words.languages.tables import table

_Reader = Callable[[re.Match[str], Context], str | None]
_RATIO = table("de=zu fr=à es=a it=a pt=a nl=_ pl=do ru=_ cs=ku ro=la sv=_ da=_ no=_")
"""Between two scores; a blank where nothing is said."""
_PARTS = {
    "de": table(
        "2=halb 3=Drittel 4=Viertel 5=Fünftel 6=Sechstel 7=Siebtel 8=Achtel 9=Neuntel 10=Zehntel 100=Hundertstel"
    ),
    "fr": table(
        "2=demi 3=tiers 4=quart 5=cinquième 6=sixième 7=septième 8=huitième 9=neuvième 10=dixième 100=centième"
    ),
    "es": table("2=medio 3=tercio 4=cuarto 5=quinto 6=sexto 7=séptimo 8=octavo 9=noveno 10=décimo 100=centésimo"),
    "it": table("2=mezzo 3=terzo 4=quarto 5=quinto 6=sesto 7=settimo 8=ottavo 9=nono 10=decimo 100=centesimo"),
    "pt": table("2=meio 3=terço 4=quarto 5=quinto 6=sexto 7=sétimo 8=oitavo 9=nono 10=décimo 100=centésimo"),
    "nl": table("2=halve 3=derde 4=vierde 5=vijfde 6=zesde 7=zevende 8=achtste 9=negende 10=tiende 100=honderdste"),
}
"""What a whole is cut into."""
_ONE_HALF = table("de=ein_halb fr=un_demi es=medio it=mezzo pt=meio nl=een_half")
_SMALL = "₀-₉"
_CIRCLED = "①-⑳"


def part_rules(language: Other) -> tuple[Rule, ...]:
    """The rules of a language."""
    found = [
        rule(
            "fraction",
            r"(?<![0-9/.,])(?P<above>[0-9]{1,2})/(?P<below>[0-9]{1,3})(?![0-9/]|[.,][0-9])",
            _fraction(language),
        ),
        rule("formula", f"[{_SMALL}]+", _figures(language), first=_SMALL),
        rule("number", f"[{_CIRCLED}]", _figures(language), first=_CIRCLED),
    ]
    if language.code in _RATIO:
        found.append(
            rule("ratio", r"(?<![0-9:.,])(?P<ours>[0-9]{1,3}):(?P<theirs>[0-9]{1,3})(?![0-9:])", _ratio(language))
        )
    if names.separators(language.code)[0] == ",":
        found.append(
            rule("number", r"(?<![0-9.,])(?P<whole>[0-9]+)\.(?P<part>[0-9]{1,2})(?![0-9.,])", _pointed(language))
        )
    return tuple(found)


def _fraction(language: Other) -> _Reader:
    """`2/3`: in the words that a language has for parts, else 2 slash 3."""

    def read(match: re.Match[str], _context: Context) -> str | None:
        above, below = match["above"], match["below"]
        part = _PARTS.get(language.code, {}).get(below)
        if not part or int(above) == 0:
            return None
        if below == "2":
            return _ONE_HALF[language.code] if above == "1" else None
        return f"{language.counted(above)} {part if above == '1' else _many(part, language.code)}"

    return read


def _many(part: str, code: str) -> str:
    if code in {"de", "nl"} or part.endswith("s"):
        return part
    return part[:-1] + "i" if code == "it" else part + "s"


def _ratio(language: Other) -> _Reader:
    word = _RATIO[language.code].strip()
    return lambda match, _context: language.joined(
        language.cardinal(match["ours"]), word, language.cardinal(match["theirs"])
    )


def _pointed(language: Other) -> _Reader:
    """`3.2` where a comma is the decimal sign: a chapter, a version."""

    def read(match: re.Match[str], _context: Context) -> str | None:
        if "." not in language.signs:
            return None
        return language.joined(language.cardinal(match["whole"]), language.sign("."), language.figures(match["part"]))

    return read


def _figures(language: Other) -> _Reader:
    def read(match: re.Match[str], _context: Context) -> str:
        if len(match[0]) == 1:
            return language.cardinal(str(int(unicodedata.numeric(match[0]))))
        return language.cardinal("".join(str(unicodedata.digit(figure)) for figure in match[0]))

    return read
