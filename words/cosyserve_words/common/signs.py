"""Signs that no rule has read: named beside figures and letters, dropped where they only adorn."""

import re

from cosyserve_words.language import Context, Rule, rule

_NAMED = "@#$€£¥₩₹%&+=<>/*\\"
_ADORNING = "*#_~^|\\`{}•◦▪●○■□◆◇★☆※†‡¶©®™"
_ALONE = frozenset("@$€£¥₩₹%&+=<>/")
_BLANK = re.compile(r"\s|$")


def _sign(found: re.Match[str], context: Context) -> str | None:
    sign = found[0][0]
    language = context.language
    if context.options.markup == "read":
        return language.joined(*[language.sign(sign)] * min(len(found[0]), 3))
    if sign not in _NAMED:
        return ""
    text = found.string
    left, right = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
    if sign == "*" and not (left.isalnum() and right.isalnum()):
        return ""
    if sign in _ALONE or left.isalnum() or right.isalnum():
        return language.joined(*[language.sign(sign)] * min(len(found[0]), 3))
    return ""


RULES: tuple[Rule, ...] = (
    rule("sign", rf"(?P<sign>[{re.escape(_NAMED + _ADORNING)}])(?P=sign)*", _sign, first=re.escape(_NAMED + _ADORNING)),
)
