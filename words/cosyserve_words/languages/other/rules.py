"""The rules of a language that only num2words and CLDR know."""

import re
from collections.abc import Callable, Sequence

from cosyserve_words.language import Context, Rule, rule
from cosyserve_words.languages.other import forms, names
from cosyserve_words.languages.other.dates import date_rules
from cosyserve_words.languages.other.language import Other
from cosyserve_words.languages.other.numbers import written_number
from cosyserve_words.languages.other.ordinals import ordinal_rules
from cosyserve_words.languages.other.parts import part_rules
from cosyserve_words.languages.other.spanish import spanish

_CODE_BEFORE = re.compile(
    r"(?:\b(?:code|pin|plz|cp|cap|tel|tél|télé|telefon|téléphone|teléfono|тел|telefono|telefone|telefoon|[^\W\d_]{0,20}nummer|postleitzahl|"
    r"numéro|número|numero|код|пин|телефон|номер|kod|kód|konto|id|zip|iban|fax|mobil|handy|portable|móvil|celular|cellulare)\b)"
    r"[^0-9,;!?]{0,12}$",
    re.IGNORECASE,
)
_LETTER_BEFORE = re.compile(r"[^\W\d_]$")
_SPACE_OF_WORDS = re.compile(r"\s[^\W\d_]")
_FEWEST_FIGURES = 3


def rules_of(language: Other) -> Sequence[Rule]:
    """All rules, the most particular first."""
    number = written_number(*names.separators(language.code))
    return (
        rule(
            "phone",
            r"(?<![0-9.,])(?:\+[0-9]{1,3}[ -]?)?(?:\(?0[0-9]*\)?|[0-9]{1,4})(?:[ /-][0-9]{2,8}){2,5}(?![0-9.,]?[0-9])",
            _phone(language),
            first="0-9+",
        ),
        rule("phone", r"\+[0-9]{6,15}(?![0-9])", _phone(language), first="+"),
        rule("code", r"(?<![0-9.,])[0-9]{3,40}(?:[ -][0-9]{2,20}){0,7}(?![.,]?[0-9])", _code(language)),
        *date_rules(language),
        *ordinal_rules(language),
        *_amount_rules(language, number),
        *part_rules(language),
        rule("range", rf"(?<![0-9.,])(?P<first>{number})\s?[-–—]\s?(?P<last>{number})(?![0-9-])", _range(language)),
        rule("number", rf"(?<![^\s(\[])[-+](?P<number>{number})", _signed(language), first="+\\-"),
        rule("number", number, _number(language)),
    )


def _amount_rules(language: Other, number: str) -> tuple[Rule, ...]:
    units = "|".join(re.escape(sign) for sign in names.unit_signs(language.code))
    money = "|".join(re.escape(sign) for sign in sorted(names.CURRENCIES, key=len, reverse=True))
    return (
        rule(
            "money",
            rf"(?P<sign>{money})\s?(?P<number>{number})(?![0-9])",
            _money(language),
            first="€$£¥￥₩₽₹₴₺₪฿₫UHNRACEGJPS",
            hint=rf"(?:{money})\s?[0-9]",
        ),
        rule("money", rf"(?P<number>{number})\s?(?P<sign>{money})(?![^\W\d_])", _money(language)),
        rule(
            "measure",
            rf"(?<![^\W\d_]-)(?P<minus>(?<![0-9])-)?(?P<number>{number})(?:\s?[-–—]\s?(?P<last>{number}))?\s?(?P<sign>{units})(?![A-Za-zÀ-ɏЀ-ӿ0-9²³])",
            _measure(language),
            first="0-9\\-",
        ),
        rule("measure", rf"(?P<minus>)(?P<last>)(?P<sign>%)\s?(?P<number>{number})", _measure(language), first="%"),
    )


def _phone(language: Other) -> Callable[[re.Match[str], Context], str | None]:
    def read(match: re.Match[str], _context: Context) -> str | None:
        written = match[0]
        dialled = written.startswith(("+", "0", "(0")) or _CODE_BEFORE.search(match.string[: match.start()][-24:])
        if not dialled:
            return None
        groups = [group for group in re.split(r"[\s()/-]+", written.removeprefix("+")) if group]
        plus = f"{language.sign('+')} " if written.startswith("+") else ""
        return plus + f"{language.comma} ".join(_group(group, language) for group in groups)

    return read


def _group(digits: str, language: Other) -> str:
    """Figures one by one; the French tell their pairs as numbers."""
    if language.code == "fr" and len(digits) == 2 and not digits.startswith("0"):
        return language.cardinal(digits)
    return language.digits(digits)


def _code(language: Other) -> Callable[[re.Match[str], Context], str | None]:
    def read(match: re.Match[str], _context: Context) -> str | None:
        named = _CODE_BEFORE.search(match.string[: match.start()][-32:])
        leads = match[0].startswith("0") and match[0].isdecimal()
        if not named and not leads:
            return None
        return f"{language.comma} ".join(language.digits(group) for group in re.split("[ -]", match[0]))

    return read


def _money(language: Other) -> Callable[[re.Match[str], Context], str]:
    def read(match: re.Match[str], _context: Context) -> str:
        number = language.plain(match["number"])
        whole, _, cents = number.partition(".")
        join = forms.CENTS.get(language.code)
        if join and len(cents) == 2 and not int(whole) and match["sign"] in forms.WITH_CENTS:
            return f"{language.counted(str(int(cents)))} {forms.CENT_NAMES[language.code]}"
        if join and len(cents) == 2:
            name = names.currency(match["sign"], whole, language.code)
            more = join + language.cardinal(str(int(cents))) if int(cents) else ""
            return f"{language.counted(whole)} {name}{more}"
        return language.joined(language.counted(number), names.currency(match["sign"], number, language.code))

    return read


def _measure(language: Other) -> Callable[[re.Match[str], Context], str]:
    def read(match: re.Match[str], _context: Context) -> str:
        number = language.plain(match["number"])
        said = language.counted(number)
        if match["minus"]:
            said = language.decimal(f"-{number}")
        if match["last"]:
            number = language.plain(match["last"])
            said = language.joined(said, forms.BETWEEN.get(language.code, ""), language.counted(number))
        pattern = names.unit(match["sign"], number, language.code)
        return pattern.replace("{}", said) if "{}" in pattern else pattern

    return read


def _range(language: Other) -> Callable[[re.Match[str], Context], str | None]:
    def read(match: re.Match[str], _context: Context) -> str | None:
        between = forms.BETWEEN.get(language.code)
        first, last = language.plain(match["first"]), language.plain(match["last"])
        if not between or float(first) >= float(last):
            return None
        return language.joined(language.number(match["first"]), between, language.number(match["last"]))

    return read


def _signed(language: Other) -> Callable[[re.Match[str], Context], str | None]:
    def read(match: re.Match[str], _context: Context) -> str | None:
        number = language.plain(match["number"])
        if match[0].startswith("+"):
            return language.joined(language.sign("+"), language.number(match["number"])) if language.signs else None
        return language.decimal(f"-{number}")

    return read


def _number(language: Other) -> Callable[[re.Match[str], Context], str]:
    def read(match: re.Match[str], _context: Context) -> str:
        written, follows = match[0], match.string[match.end() :][:2]
        if len(written) > 1 and written.startswith("0") and written.isdecimal():
            return language.digits(written)
        if written == "1" and _SPACE_OF_WORDS.match(follows):
            return language.counted("1")
        said = language.number(written)
        return spanish(said, match.string[match.end() :][:24]) if language.code == "es" else said

    return read
