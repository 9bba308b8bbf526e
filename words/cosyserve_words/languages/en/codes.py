"""English phone numbers, and codes that the words around or the shape tell of: figure by figure."""

import re

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.around import START, before, counts
from cosyserve_words.languages.en.numbers import digits, house
from cosyserve_words.languages.en.quantities import grouped

_ASKING = re.compile(
    "pins?|codes?|passcode|password|otp|pnr|ext|extension|flights?|tracking|order|account|acct|zip|zipcode|postcode"
    "|postal|serial|card|ending|ends|ssn|ids?|reference|ref|confirmation|booking|invoice|ticket|case|claim|policy|member"
    "|membership|license|licence|passport|routing|iban|imei|sku|phone|mobile|cell|fax|tel|telephone|hotline|whatsapp|call"
    "|dial|text|ring|reach|contact|isbn|issn"
)
_LINKS = frozenset({"number", "no", "num", "is", "was", "id", "code", "at", "to", "me", "us"})
_WORDS = re.compile(r"[A-Za-z]+|[^A-Za-z\s:#=.]")
_CALLS = re.compile(r"(?i)\b(?:call|dial|text|ring|contact)\b[^.]*$")
_ROOMS = re.compile(
    r"\b(?:[Rr]oom|[Gg]ate|[Ss]uite|[Rr]oute|[Hh]ighway|[Ii]nterstate|[Bb]us|[Cc]hannel|[Aa]partment) $"
)
_TOLL_FREE = {"800": "eight hundred", "900": "nine hundred"}
_PLATE = re.compile("[A-Z]+|[a-z]+|[0-9]+|-")


def _groups(figures: str) -> str:
    """The groups of a phone number, one after the other."""
    return ", ".join(digits(group) for group in re.findall("[0-9]+", figures))


def _phone(found: re.Match[str], context: Context) -> str:
    del context
    plus = "plus " if found[0].startswith("+") else ""
    return plus + _groups(found[0])


def _vanity(found: re.Match[str], context: Context) -> str:
    """`1-800-GO-U-HAUL`."""
    del context
    area = _TOLL_FREE.get(found["area"]) or digits(found["area"])
    said = re.sub("[0-9]+", lambda part: digits(part[0]), found["name"]).replace("-", " ")
    return f"{digits(found['country'])}, {area}, {said}"


def _seven(found: re.Match[str], context: Context) -> str | None:
    if re.match(" ?(?:kg|km|cm|mm|g|m|pages|people)\\b", found.string[found.end() :]):
        return None
    return _phone(found, context)


def asks_for_figures(found: re.Match[str]) -> bool:
    """Whether the words before say that a code comes: one that asks, and only links behind it."""
    asked = before(found, 60)
    if not asked or asked[-1].isdecimal():
        return False
    words = [word.lower() for word in reversed(_WORDS.findall(asked))]
    if words and words[0] in {"in", "with"}:  # a card ending in 4242, but no order in 2020
        return words[1:2] in (["ending"], ["ends"])
    asking = next((word for word in words if word not in _LINKS or _ASKING.fullmatch(word)), "")
    if not _ASKING.fullmatch(asking) or counts(found):
        return False
    return sum(char.isdecimal() for char in found[0]) > 2 or not _CALLS.search(asked)


def _code(found: re.Match[str], context: Context) -> str | None:
    del context
    if not asks_for_figures(found):
        return None
    if "-" in found[0] or " " in found[0]:
        return _groups(found[0])
    return grouped(found[0])


def _mixed_code(found: re.Match[str], context: Context) -> str | None:
    """`AB9453` behind `code`, `BA 287` behind `flight`: letters together, figures one by one."""
    del context
    if not asks_for_figures(found) and not _is_long(found[0]):
        return None
    return spelt(found[0])


def spelt(written: str) -> str:
    """Letters as they stand, figures one by one."""
    said = (digits(part) if part.isdecimal() else part for part in _PLATE.findall(written) if part != "-")
    return " ".join(said)


def _is_long(written: str) -> bool:
    """A tracking number's shape: capitals and figures, eight or more, neither in one piece."""
    figures = sum(char.isdecimal() for char in written)
    return (
        len(written) >= 8
        and figures >= 4
        and written.isalnum()
        and not written.isdecimal()
        and written.upper() == written
    )


def _house(found: re.Match[str], context: Context) -> str:
    """`1428 Elm St`: a house's number, in pairs."""
    del context
    figures, letter = found["number"], found["letter"] or ""
    return f"{house(figures)} {letter}".strip()


def _room(found: re.Match[str], context: Context) -> str | None:
    """`Room 101`, `Route 128`."""
    del context
    return house(found[0]) if _ROOMS.search(before(found, 14)) else None


def _zip(found: re.Match[str], context: Context) -> str:
    del context
    return _groups(found[0])


STREETS = {
    "St": "Street", "Ave": "Avenue", "Av": "Avenue", "Rd": "Road", "Blvd": "Boulevard", "Expy": "Expressway",
    "Hwy": "Highway",
    "Ct": "Court", "Dr": "Drive", "Ln": "Lane", "Pl": "Place", "Sq": "Square", "Pkwy": "Parkway", "Ter": "Terrace",
    "Cir": "Circle", "Trl": "Trail", "Fwy": "Freeway", "Aly": "Alley", "Cres": "Crescent",
}  # fmt: skip
_STREET = "|".join([*STREETS, *(name.lower() for name in STREETS), *STREETS.values(), "Way", "Row"])
_END = r"(?![0-9A-Za-z])(?![.,:-][0-9])"
RULES: tuple[Rule, ...] = (
    rule(
        "phone",
        r"(?<![0-9A-Za-z])(?P<country>1)-(?P<area>[89][0-9]{2})-(?P<name>[A-Z0-9]+(?:-[A-Z0-9]+)*[A-Z])\b",
        _vanity,
    ),
    rule(
        "phone",
        r"(?<![0-9A-Za-z])(?:\+?[0-9]{1,3}[-. ]?)?(?:\([0-9]{3}\)[-. ]?|[0-9]{3}([-. ]))[0-9]{3}[-. ][0-9]{4}"
        r"(?:-[0-9]{1,4})?(?![0-9A-Za-z])",
        _phone,
        first="+(0-9",
        hint=r"[+(]?[0-9]",
    ),
    rule(
        "phone",
        r"(?<![0-9A-Za-z])\+[0-9]{1,3}(?:[-. ]?\(?[0-9]{1,5}\)?){1,5}(?![0-9A-Za-z])(?![.,][0-9])",
        _phone,
        first="+",
        hint=r"\+[0-9]",
    ),
    rule("phone", rf"{START}[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}{_END}", _phone),
    rule("code", rf"{START}[0-9]{{4}}([- ])[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,4}})?{_END}", _phone),
    rule("phone", rf"{START}[0-9]{{3}}[-.][0-9]{{4}}{_END}", _seven),
    rule("code", rf"{START}[0-9]{{1,40}}(?:-[0-9]{{1,40}}){{0,8}}(?![0-9A-Za-z%])(?![.,:/-][0-9])", _code),
    rule(
        "code",
        r"\b(?=[A-Za-z]*[0-9])[A-Za-z0-9]{1,40}(?:-[A-Za-z0-9]{1,40}){0,8}\b|\b[A-Z]{1,3} [0-9]{2,4}\b",
        _mixed_code,
        first="A-Za-z0-9",
        hint="\\b[A-Za-z]{0,12} ?[0-9]",
    ),
    rule(
        "address",
        rf"(?<![0-9A-Za-z.,$-])(?P<number>[0-9]{{1,5}})(?P<letter>[A-Z])?(?= (?:(?:[A-Z][a-z]*\.?|[0-9]+"
        rf"(?:st|nd|rd|th)) ){{1,4}}(?:{_STREET})\b)",
        _house,
    ),
    rule(
        "code",
        r"(?<![0-9A-Za-z.,])[0-9]{3,4}(?![0-9A-Za-z%])(?![.,:/-][0-9])",
        _room,
    ),
    rule("code", rf"(?<=\b[A-Z]{{2}} )[0-9]{{5}}(?:-[0-9]{{4}})?{_END}", _zip),
    rule("code", rf"(?<=\b[A-Z]{{2}}, )[0-9]{{5}}(?:-[0-9]{{4}})?{_END}", _zip),
)
