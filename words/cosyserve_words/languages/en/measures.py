"""English measures: a number and the sign of a unit."""

import re
from functools import cache

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.around import DASH, MINUS, NUMBER, START, describes, number
from cosyserve_words.languages.en.fractions import VULGAR, parts

_PREFIXES = {"k": "kilo", "c": "centi", "m": "milli", "μ": "micro", "µ": "micro", "u": "micro", "n": "nano",
"M": "mega"} | {
    "G": "giga", "T": "tera", "h": "hecto", "d": "deci", "p": "pico",
}  # fmt: skip
_METRIC = {
    "m": ("meter", "kcmμµnd"), "g": ("gram", "kmμµn"), "L": ("liter", "mcdμµ"), "l": ("liter", "mcdμµ"), "W": ("watt",
    "kmMGT"),
    "Hz": ("hertz", "kMGT"), "V": ("volt", "kmM"), "A": ("ampere", "mμµ"), "J": ("joule", "kM"), "Pa": ("pascal",
    "khM"),
    "B": ("byte", "kKMGTP"), "mol": ("mole", "mμµ"), "cal": ("calorie", "k"), "eV": ("electron volt", "kMGT"),
    "Wh": ("watt hour", "kMGT"),
    "N": ("newton", "k"), "Ω": ("ohm", "kM"), "F": ("farad", "μµnp"), "s": ("second", "mμµn"), "bar": ("bar", "m"),
    "Ah": ("ampere hour", "m"),
    "bps": ("bit per second", "kMGT"), "sec": ("second", "m"),
}  # fmt: skip
_IRREGULAR = {"foot": "feet", "inch": "inches", "hertz": "hertz", "percent": "percent", "dozen": "dozen"}
_OTHERS = {
    "%": "percent", "‰": "per mille", "°C": "degree Celsius", "℃": "degree Celsius", "°F": "degree Fahrenheit",
    "℉": "degree Fahrenheit", "°": "degree", "º": "degree", "K": "", "in": "", "ft": "foot", "yd": "yard",
    "mi": "mile", "lb": "pound",
    "lbs": "pound", "oz": "ounce", "mph": "mile per hour", "kmh": "kilometer per hour", "kph": "kilometer per hour",
    "rpm": "revolution per minute", "fps": "frame per second", "dB": "decibel", "hp": "horsepower", "gal": "gallon",
    "pt": "pint",
    "qt": "quart", "ha": "hectare", "t": "", "h": "hour", "hr": "hour", "hrs": "hour", "min": "minute",
    "mins": "minute",
    "secs": "second", "KB": "kilobyte", "Mbps": "megabit per second", "mbps": "megabit per second",
    "Gbps": "gigabit per second",
    "kbps": "kilobit per second", "Kbps": "kilobit per second", "KG": "kilogram", "Kg": "kilogram", "KM": "kilometer",
    "mmHg": "millimeter of mercury",
    "cc": "CC", "sqft": "square foot", "sq ft": "square foot", "ppm": "part per million", "dpi": "dot per inch",
    "px": "pixel",
    "kn": "knot", "psi": "pound per square inch", "mi²": "square mile", "ft²": "square foot", "MP": "megapixel",
    "ml": "milliliter",
    "mL": "milliliter", "Ωm": "ohm meter", "yr": "year", "yrs": "year", "wk": "week", "mo": "month", "mos": "month",
}  # fmt: skip
_LONE = frozenset({"m", "g", "L", "l", "W", "V", "A", "J", "B", "N", "F", "s"})
"""Letters that are a unit only where something else says so; but metres, grams, litres, watts, volts always."""
_ALWAYS = frozenset({"m", "g", "L", "l", "W", "V"})
_POWERS = {"²": "square ", "³": "cubic ", "2": "square ", "3": "cubic "}


@cache
def units() -> dict[str, str]:
    """Every sign to its name, one of them."""
    found = {sign: name for sign, name in _OTHERS.items() if name}
    for sign, (name, prefixes) in _METRIC.items():
        found.update({f"{prefix}{sign}": f"{_prefix(prefix)}{name}" for prefix in prefixes})
        if sign not in _LONE or sign in _ALWAYS:
            found[sign] = name
    lengths = {
        sign: name for sign, name in found.items() if name.endswith("meter") or name in {"foot", "inch", "mile", "yard"}
    }
    for power, word in _POWERS.items():
        found.update({f"{sign}{power}": f"{word}{name}" for sign, name in lengths.items()})
    return found


def _prefix(sign: str) -> str:
    return {"P": "peta", "K": "kilo"}.get(sign) or _PREFIXES[sign]


def plural(name: str) -> str:
    """Several of it: the first noun, and none of what stands behind `per` or `of`."""
    head, between, rest = name, "", ""
    for word in (" per ", " of ", " Celsius", " Fahrenheit"):
        if word in name:
            head, between, rest = name.partition(word)
            break
    *adjectives, noun = head.split(" ")
    return (
        " ".join(
            [
                *adjectives,
                _IRREGULAR.get(noun, noun if noun.isupper() or noun.endswith(("hertz", "horsepower")) else f"{noun}s"),
            ]
        )
        + between
        + rest
    )


def measure(written: str, unit: str, *, one: bool = False) -> str:
    """`3.5`, `cm²` as three point five square centimeters; one: the unit in the singular, whatever the number."""
    return f"{number(written)} {unit_name(unit, one=one or written == '1')}"


def unit_name(unit: str, *, one: bool) -> str:
    """`km/h` as kilometers per hour."""
    first, *others = re.split("[/·]", unit)
    name = units()[first.strip()]
    said = name if one else plural(name)
    return " per ".join([said, *(_below(other.strip()) for other in others)])


def _below(unit: str) -> str:
    power = {"²": " squared", "2": " squared", "³": " cubed"}.get(unit[-1], "")
    if unit in units():
        return units()[unit]
    unit = unit.rstrip("²2³")
    return (units().get(unit) or {"s": "second", "d": "day", "h": "hour", "min": "minute", "y": "year"}[unit]) + power


def _measure(found: re.Match[str], context: Context) -> str:
    del context
    minus = "minus " if found["minus"] else ""
    scale = f" {found['scale']}" if found["scale"] else ""
    if scale:
        return f"{minus}{number(found['number'])}{scale} {unit_name(found['unit'], one=False)}"
    return minus + measure(found["number"], found["unit"], one=describes(found))


def _mixed(found: re.Match[str], context: Context) -> str:
    """`4 1/2 lbs`."""
    del context
    whole, top, below = found["whole"], found["top"], found["below"]
    part = "a half" if (top, below) == ("1", "2") else parts(top, below)
    if whole:
        return f"{number(whole)} and {part} {unit_name(found['unit'], one=False)}"
    return f"{parts(top, below)} {unit_name(found['unit'], one=True)}"


def _range(found: re.Match[str], context: Context) -> str:
    del context
    return f"{number(found['from'])} to {measure(found['to'], found['unit'])}"


def _times(found: re.Match[str], context: Context) -> str:
    del context
    parts = re.split(" ?[x×*] ?", found["all"])
    word = " times " if "*" in found["all"] else " by "
    return word.join(map(number, parts)) + f" {unit_name(found['unit'], one=False)}"


def _per(found: re.Match[str], context: Context) -> str:
    del context
    return f"{number(found['number'])} per {units().get(found['unit']) or found['unit']}"


def _feet(found: re.Match[str], context: Context) -> str:
    """`6'2"`."""
    del context
    feet = f"{number(found['feet'])} {'foot' if found['inches'] else 'feet'}"
    if not found["inches"]:
        return feet
    return f"{feet} {number(found['inches'])}"


def _inches(found: re.Match[str], context: Context) -> str | None:
    del context
    before = found.string[: found.start()]
    if len(re.findall('(?<![0-9½¼¾])"', before)) % 2 and found[0].endswith('"'):
        return None  # it closes a quotation
    one = found["number"] == "1" or describes(found)
    return f"{number(found['number'])} {'inch' if one else 'inches'}"


def _part_inches(found: re.Match[str], context: Context) -> str:
    """`8½"`."""
    del context
    whole, part = found["number"][:-1], parts(*VULGAR[found["number"][-1]].split("/"))
    return f"{number(whole)} and {part.replace('one half', 'a half')} inches" if whole else f"{part} inch"


def _degrees(found: re.Match[str], context: Context) -> str:
    """`40°26′46″N`."""
    del context
    said = measure(found["degrees"], "°")
    for name, unit in (("minutes", "minute"), ("seconds", "second")):
        if found[name]:
            said += f" {number(found[name])} {unit}{'' if found[name].lstrip('0') == '1' else 's'}"
    sides = {"N": "north", "S": "south", "E": "east", "W": "west"}
    return f"{said} {sides[found['side']]}" if found["side"] else said


_UNIT = "|".join(re.escape(sign) for sign in sorted(units(), key=len, reverse=True))
_BELOW = rf"(?:{_UNIT}|min|[sdhy])[²2³]?"
_UNITS = rf"(?P<unit>(?:{_UNIT})(?: ?[/·] ?{_BELOW}(?![A-Za-z]))*)(?![A-Za-z0-9²³])"
_GAP = "[ -]?"
RULES: tuple[Rule, ...] = (
    rule(
        "measure",
        rf"{START}(?P<degrees>{NUMBER})° ?(?P<minutes>[0-9]{{1,2}})['′](?: ?(?P<seconds>[0-9.]+)(?:[\"″]|''))? ?"
        rf"(?P<side>[NSEW]\b)?",
        _degrees,
    ),
    rule("measure", rf"{START}(?P<degrees>{NUMBER})°(?P<minutes>)(?P<seconds>) ?(?P<side>[NSEW])\b", _degrees),
    rule("measure", rf"{START}(?P<feet>[0-9]{{1,2}})['′] ?(?P<inches>[0-9]{{1,2}})(?:[\"″”]|'')", _feet),
    rule("measure", rf"{START}(?P<feet>[0-9]{{1,6}})′(?P<inches>)", _feet),
    rule("measure", rf"{START}(?P<number>{NUMBER})(?:\"|″| in(?= (?:tall|long|wide|high|deep|thick|by|x)\b))", _inches),
    rule("measure", rf"{START}(?P<number>[0-9]{{0,3}}[½¼¾⅛⅜⅝⅞])(?:\"|″)", _part_inches),
    rule(
        "measure",
        rf"{START}(?:(?P<whole>[0-9]{{1,4}}) )?(?P<top>[0-9]{{1,2}})/(?P<below>[0-9]{{1,2}})[ -]?{_UNITS}",
        _mixed,
    ),
    rule("measure", rf"{START}(?P<from>{NUMBER}){DASH}(?P<to>{NUMBER}) ?{_UNITS}", _range),
    rule("measure", rf"{START}(?P<all>{NUMBER}(?: ?[x×*] ?{NUMBER})+) ?{_UNITS}", _times),
    rule(
        "measure",
        rf"{MINUS}{START}(?P<number>{NUMBER})(?: (?P<scale>thousand|million|billion|trillion))?{_GAP}{_UNITS}",
        _measure,
        first="-−.0-9",
        hint="[-−.]?[0-9]",
    ),
    rule("measure", rf"{START}(?P<number>{NUMBER}) ?/ ?(?P<unit>{_UNIT})(?![A-Za-z0-9])", _per),
)
