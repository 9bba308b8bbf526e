"""English abbreviations that are said in full: titles, streets, states, signs such as `No.`, roman numerals."""

import re

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.around import after, before
from cosyserve_words.languages.en.codes import STREETS
from cosyserve_words.languages.en.numbers import cardinal, ordinal

_TITLES = {
    "Mr": "Mister", "Mrs": "Misses", "Dr": "Doctor", "Prof": "Professor", "Gen": "General", "Col": "Colonel",
    "Capt": "Captain",
    "Cpt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Rev": "Reverend", "Hon": "Honorable", "Gov": "Governor",
    "Sen": "Senator", "Rep": "Representative", "Maj": "Major", "Cmdr": "Commander", "Pres": "President",
    "Mt": "Mount", "Ft": "Fort",
    "St": "Saint", "Messrs": "Messieurs",
}  # fmt: skip
_ALWAYS = {
    "Jr": "Junior", "Sr": "Senior", "vs": "versus", "etc": "et cetera", "Inc": "Incorporated", "Corp": "Corporation",
    "Ltd": "Limited", "Co": "Company", "dept": "department", "Dept": "Department", "approx": "approximately",
    "Assn": "Association",
    "Bros": "Brothers", "Univ": "University", "est": "established", "Est": "Established", "govt": "government",
    "Govt": "Government",
    "misc": "miscellaneous", "Hon": "Honorable", "Maj": "Major", "Rev": "Reverend", "Mt": "Mount", "tel": "telephone",
    "Tel": "Telephone",
}  # fmt: skip
_BEFORE_NUMBERS = {
    "No": "number", "Nos": "numbers", "Nr": "number", "Fig": "figure", "Figs": "figures", "Vol": "volume",
    "Ch": "chapter",
    "Sec": "section", "Eq": "equation", "Eqs": "equations", "pp": "pages", "p": "page", "Pt": "part",
    "Art": "article", "Tab": "table",
    "App": "appendix", "Apt": "apartment", "Ext": "extension", "Rm": "room", "Op": "opus", "Ver": "version",
    "para": "paragraph",
    "Chap": "chapter", "Ex": "example", "Lv": "level", "Lvl": "level", "ca": "circa", "c": "circa",
    "Bldg": "building", "Ste": "suite",
}  # fmt: skip
_PHRASES = {"e.g.": "for example", "i.e.": "that is", "w/o": "without", "w/": "with", "cf.": "compare",
"a.k.a.": "also known as"} | {
    "et al.": "and others", "P.S.": "P S", "N.B.": "nota bene", "Ph.D.": "PhD", "Ph.D": "PhD", "and/or": "and or",
    "WWI": "World War one", "WWII": "World War two",
}  # fmt: skip
STATES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut",
    "DE": "Delaware", "FL": "Florida", "GA": "Georgia", "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois",
    "IN": "Indiana", "IA": "Iowa",
    "KS": "Kansas", "KY": "Kentucky", "LA": "Louisiana", "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts",
    "MI": "Michigan",
    "MN": "Minnesota", "MS": "Mississippi", "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada",
    "NH": "New Hampshire",
    "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York", "NC": "North Carolina", "ND": "North Dakota",
    "OH": "Ohio",
    "OK": "Oklahoma", "OR": "Oregon", "PA": "Pennsylvania", "RI": "Rhode Island", "SC": "South Carolina",
    "SD": "South Dakota",
    "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont", "VA": "Virginia", "WA": "Washington",
    "WV": "West Virginia",
    "WI": "Wisconsin", "WY": "Wyoming", "DC": "D C",
}  # fmt: skip
_SIDES = {
    "N": "North",
    "S": "South",
    "E": "East",
    "W": "West",
    "NE": "Northeast",
    "NW": "Northwest",
    "SE": "Southeast",
    "SW": "Southwest",
}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_VALID = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_NUMBERED = re.compile(
    r"(?i)\b(?:super bowl|chapter|part|section|act|scene|volume|vol|book|phase|type|article|title|appendix|table|figure"
    r"|war|stage|level|class|grade|category|unit|episode|season|round|mark|mk|plate|canto|tier|group)\.? $"
)
_RULER = re.compile(
    r"\b(?:Henry|Louis|Elizabeth|George|Charles|James|Edward|William|Richard|Philip|Alexander|Nicholas|Catherine|Peter|Paul"
    r"|Frederick|Napoleon|Leo|Pius|Benedict|John|Gregory|Francis|Ferdinand|Otto|Ramesses|Ptolemy|Ivan|Mary|Gustav|Christian"
    r"|Haakon|Leopold|Joseph|Felipe|Innocent|Urban|Clement|Sixtus|Julius|Carlos|"
    r"(?:King|Queen|Pope|Emperor|Empress|Tsar|Prince)"
    r" [A-Z][a-z]+) $"
)


def _title(found: re.Match[str], context: Context) -> str | None:
    """Before a name; behind one it may be a street."""
    del context
    name, text = found[1], before(found)
    behind_name = re.search(r"(?:[A-Z][a-z]+|[0-9](?:st|nd|rd|th)) $", text) is not None
    saint = name == "St" and re.match(" [A-Z]", after(found)) and not _is_address(text)
    if name in STREETS and behind_name and not saint:
        return None
    return _TITLES[name] if re.match(r" ?[A-Z]", after(found)) else None


def _is_address(text: str) -> bool:
    return bool(re.search(r"[0-9][A-Z]? (?:[A-Z][a-z]*\.? |[0-9]+(?:st|nd|rd|th) ){1,4}$", text))


def _street(found: re.Match[str], context: Context) -> str | None:
    del context
    name = found[1][0].upper() + found[1][1:]
    text, rest = before(found), after(found)
    if not re.search(r"(?:[A-Z][a-z]+|[0-9](?:st|nd|rd|th)) $", text):
        return None
    if not _is_address(text) and not (
        found[0].endswith(".") and found[1][0].isupper() and name in {"St", "Ave", "Rd", "Blvd", "Ln", "Hwy"}
    ):
        return None
    ends = found[0].endswith(".") and (not rest or re.match(r"\s+(?:[A-Z]|$)", rest))
    return STREETS[name] + ("." if ends else "")


def _side(found: re.Match[str], context: Context) -> str | None:
    del context
    if re.search(r"(?<![0-9.])[0-9]{1,5} $", before(found)) and re.match(
        r"\.? (?:[A-Z][a-z]+|[0-9]+(?:st|nd|rd|th)) ", after(found)
    ):
        return _SIDES[found[1]]
    return None


def _always(found: re.Match[str], context: Context) -> str:
    del context
    said = _ALWAYS[found[1]]
    return said + (
        "."
        if re.match(r"$|\s+[A-Z“\"]", after(found)) and found[1] not in {"vs", "approx", "Mt", "Hon", "Maj", "Rev"}
        else ""
    )


def _numbered(found: re.Match[str], context: Context) -> str:
    del context
    name = found[1]
    word = _BEFORE_NUMBERS.get(name) or _BEFORE_NUMBERS[name.capitalize()]
    begins = not before(found, 2).strip() or before(found, 2).endswith(". ")
    return word.capitalize() if begins and name[0].isupper() and found.start() else word


def _phrase(found: re.Match[str], context: Context) -> str:
    del context
    said = _PHRASES[found[0]]
    return said + ("." if found[0] == "Ph.D." and re.match(r"$|\s+[A-Z]", after(found)) else "")


def _state(found: re.Match[str], context: Context) -> str:
    del context
    return STATES[found[1]]


def _dotted(found: re.Match[str], context: Context) -> str:
    """`U.S.A.` as USA; its last stop may end the sentence."""
    del context
    letters = found[0].replace(".", "")
    return letters + ("." if re.match(r"$|\s+[A-Z][a-z]+ ", after(found)) and len(letters) > 1 else "")


def _initials(found: re.Match[str], context: Context) -> str:
    del context
    return found[0].replace(".", "").replace("  ", " ")


def roman(written: str) -> int:
    """`XIV` as 14; 0 where it is none."""
    if not _VALID.fullmatch(written):
        return 0
    values = [_ROMAN[char] for char in written]
    return sum(-one if one < following else one for one, following in zip(values, [*values[1:], 0], strict=True))


def _roman(found: re.Match[str], context: Context) -> str | None:
    del context
    written, text = found[0], before(found)
    value = roman(written)
    if not value or text.lower().endswith(" an "):  # an IV drip
        return None
    if _NUMBERED.search(text):
        return cardinal(str(value))
    if (
        _RULER.search(text)
        and written not in {"C", "D", "M", "L", "CC", "DC"}
        and (written != "I" or re.match("[ ,.]*(?:of\\b|$)", after(found)))
    ):
        return f"the {ordinal(str(value))}"
    if len(written) > 1 and set(written) <= set("IVX") and value < 40 and written not in {"XX", "XXX", "XI", "VI"}:
        return cardinal(str(value))
    if written in {"XI", "VI"} and re.search("[A-Z][a-z]+ $", text):
        return cardinal(str(value))
    return None


def _any(words: object) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))  # type: ignore[call-overload]


_SMALL = {name.lower() for name in _BEFORE_NUMBERS if len(name) > 2} - {"tab", "app", "art"} | {"no"}
_NUMBER_WORDS = _any({*_BEFORE_NUMBERS, *_SMALL})
RULES: tuple[Rule, ...] = (
    rule(
        "abbreviation",
        rf"(?<!\w)(?:{_any(_PHRASES)})(?!\w)",
        _phrase,
        first="A-Za-z",
        hint=rf"(?<!\w)(?:{_any(_PHRASES)})",
    ),
    rule(
        "abbreviation",
        rf"\b({_NUMBER_WORDS})\. ?(?=[0-9])",
        _numbered,
        first="A-Za-z",
        hint=rf"\b(?:{_NUMBER_WORDS})\. ?[0-9]",
    ),
    rule(
        "abbreviation",
        rf"\b({_any(STREETS)}|{_any(name.lower() for name in STREETS)})\b\.?",
        _street,
        first="A-Za-z",
        hint=rf"\b(?:{_any(STREETS)}|{_any(name.lower() for name in STREETS)})\b",
    ),
    rule("abbreviation", rf"\b({_any(_TITLES)})\.", _title, first="A-Z", hint=rf"\b(?:{_any(_TITLES)})\."),
    rule("abbreviation", rf"\b({_any(_ALWAYS)})\.(?!\w)", _always, first="A-Za-z", hint=rf"\b(?:{_any(_ALWAYS)})\."),
    rule(
        "abbreviation",
        rf"(?<=[a-z], )({_any(STATES)})\b(?!\.)",
        _state,
        first="A-Z",
        hint=rf"(?<=[a-z], )(?:{_any(STATES)})\b",
    ),
    rule(
        "abbreviation", rf"\b({_any(_SIDES)})\b\.?(?= )", _side, first="NSEW", hint=rf"(?<=[0-9] )(?:{_any(_SIDES)})\b"
    ),
    rule("abbreviation", r"\b(?:[A-Za-z]\.){2,}(?:[A-Z]\b)?", _dotted, first="A-Za-z", hint=r"\b[A-Za-z]\.[A-Za-z]\."),
    rule("abbreviation", r"\b[A-Z]\.(?: [A-Z]\.)*(?= [A-Z][a-z])", _initials, first="A-Z", hint=r"\b[A-Z]\. [A-Z]"),
    rule("abbreviation", r"(?<=[a-z] )No\.(?= (?:is|was|of)\b|:)", lambda *_: "number", first="N", hint=r"\bNo\. "),
    rule(
        "name", r"(?<![A-Za-z0-9])[CFJ]#(?!\w)", lambda found, _: f"{found[0][0]} sharp", first="CFJ", hint=r"\b[CFJ]#"
    ),
    rule("roman", r"\b[IVXLCDM]+\b(?!['’.][A-Za-z])(?![-&])", _roman, first="IVXLCDM", hint=r"\b[IVXLCDM]+\b"),
)
