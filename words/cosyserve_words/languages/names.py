"""Names and codes in which letters and figures stand together: `GPT-4o`, `COVID-19`, `B2A23C`."""

import re

from cosyserve_words.language import Context, Rule, rule

_PARTS = re.compile(r"[0-9]+(?:\.[0-9]+)?|[^0-9]+")


def _name(found: re.Match[str], context: Context) -> str:
    language = context.language
    said = [
        (language.decimal(part) if "." in part else language.figures(part)) if part[0].isdecimal() else part.strip("-.")
        for part in _PARTS.findall(found[0])
    ]
    return language.joined(*said)


_REST = r"(?:[0-9]+(?:\.[0-9]+(?![0-9A-Za-z.]))?|[A-Za-z]+|-(?=[0-9A-Za-z]))*(?![0-9A-Za-z])"
RULES: tuple[Rule, ...] = (
    rule(
        "name",
        rf"(?<![0-9A-Za-z])(?:[A-Za-z]{{1,12}}(?=[0-9])|[A-Z]{{1,6}}-(?=[0-9])|[A-Za-z]-"
        rf"(?=[A-Za-z0-9-]*[A-Za-z][0-9])){_REST}",
        _name,
        first="A-Za-z",
        hint=r"(?<![0-9A-Za-z])[A-Za-z]{1,12}-?[0-9]|\b[A-Za-z]-[0-9a-z]",
    ),
    rule("name", rf"(?<![0-9A-Za-z.,])[0-9]+(?=[A-Za-z]){_REST}", _name),
    rule("name", rf"(?<![0-9A-Za-z.,])(?=[0-9-]{{1,12}}-[A-Za-z]+-?[0-9A-Za-z-]*[0-9])[0-9]+{_REST}", _name),
)
