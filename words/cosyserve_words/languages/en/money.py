"""English sums of money."""

import re

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.en.around import DASH, NUMBER, START, describes, number

_Names = tuple[str, str, str, str]
DOLLAR: _Names = ("dollar", "dollars", "cent", "cents")
_YUAN, _YEN, _WON = ("yuan", "yuan", "", ""), ("yen", "yen", "", ""), ("won", "won", "", "")
CURRENCIES: dict[str, _Names] = {
    "$": DOLLAR, "£": ("pound", "pounds", "penny", "pence"), "€": ("euro", "euros", "cent", "cents"), "¥": _YEN,
    "₩": _WON, "₹": ("rupee", "rupees", "paisa", "paise"), "₽": ("ruble", "rubles", "kopek", "kopeks"),
    "₿": ("bitcoin", "bitcoins", "", ""), "฿": ("baht", "baht", "", ""), "₫": ("dong", "dong", "", ""),
    "₺": ("lira", "lira", "", ""), "₪": ("shekel", "shekels", "", ""), "₴": ("hryvnia", "hryvnias", "", ""),
    "R$": ("real", "reais", "centavo", "centavos"), "元": _YUAN,
}  # fmt: skip
_OF_A_COUNTRY = {
    "US": "US", "C": "Canadian", "CA": "Canadian", "A": "Australian", "AU": "Australian", "NZ": "New Zealand",
    "S": "Singapore",
    "HK": "Hong Kong", "NT": "New Taiwan",
}  # fmt: skip
CODES: dict[str, _Names] = {
    "USD": ("US dollar", "US dollars", "cent", "cents"), "EUR": CURRENCIES["€"], "GBP": CURRENCIES["£"], "JPY": _YEN,
    "CNY": _YUAN, "RMB": _YUAN, "KRW": _WON, "INR": CURRENCIES["₹"], "CHF": ("Swiss franc", "Swiss francs", "", ""),
    "CAD": ("Canadian dollar", "Canadian dollars", "cent", "cents"), "HKD": ("Hong Kong dollar", "Hong Kong dollars",
    "cent", "cents"),
    "AUD": ("Australian dollar", "Australian dollars", "cent", "cents"), "SEK": ("Swedish krona", "Swedish kronor",
    "", ""),
    "NOK": ("Norwegian krone", "Norwegian kroner", "", ""), "DKK": ("Danish krone", "Danish kroner", "", ""),
    "SGD": ("Singapore dollar", "Singapore dollars", "cent", "cents"), "TWD": ("New Taiwan dollar",
    "New Taiwan dollars", "", ""),
    "BTC": ("bitcoin", "bitcoins", "", ""),
}  # fmt: skip
_SCALES = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
    "t": "trillion",
    "tn": "trillion",
}
_PER = {
    "mo": "month", "yr": "year", "wk": "week", "d": "day", "hr": "hour", "h": "hour", "min": "minute", "s": "second",
    "kg": "kilogram", "lb": "pound", "oz": "ounce", "gal": "gallon", "l": "liter", "L": "liter", "sqft": "square foot",
    "unit": "unit", "month": "month", "year": "year", "week": "week", "day": "day", "hour": "hour", "person": "person",
    "night": "night", "seat": "seat", "user": "user", "share": "share", "barrel": "barrel", "ton": "ton",
    "item": "item",
}  # fmt: skip
_SIGN = r"(?:(?:US|CA|C|AU|A|NZ|S|HK|NT)?\$|R\$|[£€¥₩₹₽₿฿₫₺₪₴])"
_CODE = "|".join(CODES)
_SCALE = r"(?P<scale> ?(?i:thousand|million|billion|trillion|mn|bn|tn|[kmbt])\b)?"
_PER_UNIT = rf"(?:/(?P<per>{'|'.join(sorted(_PER, key=len, reverse=True))})\b)?"
_STOP = r"(?![0-9A-Za-z])(?![.,][0-9])"


def names(sign: str) -> _Names:
    """What a sign's money is called: one, several, one small, several small."""
    if sign in CURRENCIES:
        return CURRENCIES[sign]
    if sign in CODES:
        return CODES[sign]
    country = _OF_A_COUNTRY[sign[:-1]]
    return f"{country} dollar", f"{country} dollars", "cent", "cents"


def amount(written: str, sign: str, scale: str = "", *, describes: bool = False) -> str:
    """`20.50` as twenty dollars fifty cents. describes: `a $20 lunch` is of twenty dollar."""
    one, many, small, smalls = names(sign)
    if describes and "." not in written:
        many = one
    written = written.replace(",", "")
    if scale:
        scale = scale.strip().lower()
        return f"{number(written)} {_SCALES.get(scale, scale)} {many}"
    whole, _, part = written.partition(".")
    part = part.rstrip("0")
    if len(part) > 2 or (part and not small):
        return f"{number(f'{whole}.{part}')} {many}"
    cents = int(f"{part:0<2}") if part else 0
    said = []
    if int(whole or 0) or not cents:
        said.append(f"{number(whole or '0')} {one if (whole or '0').lstrip('0') == '1' else many}")
    if cents:
        said.append(f"{number(str(cents))} {small if cents == 1 else smalls}")
    return " ".join(said)


def _before(found: re.Match[str], context: Context) -> str:
    del context
    minus = "minus " if found["minus"] else ""
    return (
        minus
        + amount(found["number"], found["sign"].strip(), found["scale"] or "", describes=describes(found))
        + _per(found)
    )


def _per(found: re.Match[str]) -> str:
    return f" per {_PER[found['per']]}" if found["per"] else ""


def _range(found: re.Match[str], context: Context) -> str:
    del context
    sign, scale = found["sign"], found["scale"] or ""
    first = amount(found["from"], sign, scale) if found["again"] else number(found["from"])
    return f"{first} to {amount(found['to'], sign, scale)}"


def _after(found: re.Match[str], context: Context) -> str:
    del context
    return amount(found["number"], found["sign"], found["scale"] or "") + _per(found)


_FIRST, _HINT = "-$£€¥₩₹₽₿฿₫₺₪₴UCANSHR", rf"-?{_SIGN} ?\.?[0-9]"
RULES: tuple[Rule, ...] = (
    rule(
        "money",
        rf"(?<![A-Za-z0-9])(?P<sign>{_SIGN})(?P<from>{NUMBER}){DASH}(?P<again>{_SIGN})?(?P<to>{NUMBER}){_SCALE}{_STOP}",
        _range,
        first=_FIRST,
        hint=_HINT,
    ),
    rule(
        "money",
        rf"(?<![A-Za-z0-9])(?P<minus>-)?(?P<sign>{_SIGN}) ?(?P<number>{NUMBER}){_SCALE}{_PER_UNIT}{_STOP}(?!@)",
        _before,
        first=_FIRST,
        hint=_HINT,
    ),
    rule(
        "money",
        rf"\b(?P<minus>)(?P<sign>{_CODE}) ?(?P<number>{NUMBER}){_SCALE}{_PER_UNIT}{_STOP}",
        _before,
        first="A-Z",
        hint=rf"\b(?:{_CODE}) ?[0-9]",
    ),
    rule("money", rf"{START}(?P<number>{NUMBER}){_SCALE} ?(?P<sign>{_SIGN}|{_CODE}){_PER_UNIT}(?![0-9A-Za-z])", _after),
)
