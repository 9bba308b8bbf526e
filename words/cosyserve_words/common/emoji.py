"""Pictographs: left out, or named where markup is read."""

import re
from functools import cache

from cosyserve_words.language import Context, Rule, rule

_BASE = "\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff\u3030\u303d\u3297\u3299\u25a0-\u25ff"
_JOINS = "\ufe00-\ufe0f\u200d\u20e3\U000e0020-\U000e007f"
MOST = 8
"""So many in a row are one span at most."""


@cache
def _names(language: str) -> dict[str, str]:
    import emoji  # two megabytes of names, for the few who want them

    known = language if language in emoji.LANGUAGES else "en"
    emoji.config.load_language(known)
    return {sign: str(found[known]) for sign, found in emoji.EMOJI_DATA.items() if known in found}


def _emoji(found: re.Match[str], context: Context) -> str:
    if context.options.markup == "strip":
        return ""
    name = _names("zh" if context.language.code == "yue" else context.language.code).get(found[0], "")
    return " ".join(name.strip(":").replace("_", " ").replace("-", " ").split())


RULES: tuple[Rule, ...] = (
    rule("emoji", rf"[{_BASE}][{_JOINS}{_BASE}]{{0,3}}|[{_JOINS}]", _emoji, first=f"{_BASE}{_JOINS}"),
)
