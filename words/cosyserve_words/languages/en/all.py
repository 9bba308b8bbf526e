"""All rules of English, in their order."""

import re

from cosyserve_words.language import Context, Rule, rule


def _number(found: re.Match[str], context: Context) -> str:
    return context.language.cardinal(found[0])


RULES: tuple[Rule, ...] = (rule("number", r"\d+", _number),)
