"""A language by its tag."""

from functools import cache
from importlib import import_module

from cosyserve_words.language import Language

OWN = {"en": "en.language", "zh": "zh.language", "yue": "yue.language", "ja": "ja.language", "ko": "ko.language"}
"""Those with a module of their own, which has a `LANGUAGE`; any other has its numbers, and no more, from num2words."""
SAME = {"cmn": "zh", "zh-hk": "yue", "zh-yue": "yue", "zh-mo": "yue"}


def base_of(tag: str) -> str:
    """The language of a tag such as `en-GB`, in small letters: `en`."""
    tag = tag.lower().replace("_", "-")
    short = next((SAME[start] for start in (tag, "-".join(tag.split("-")[:2])) if start in SAME), tag)
    return SAME.get(short.split("-")[0], short.split("-")[0])


@cache
def find(code: str) -> Language:
    """The language of a base tag (`base_of`)."""
    if code in OWN:
        language = import_module(f"cosyserve_words.languages.{OWN[code]}").LANGUAGE
        assert isinstance(language, Language)
        return language
    return import_module("cosyserve_words.languages.other.language").Other(code)  # type: ignore[no-any-return]
