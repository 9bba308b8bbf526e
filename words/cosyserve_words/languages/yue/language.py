"""Cantonese: the rules of Chinese in the words that Hong Kong has for them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from cosyserve_words.language import Context, Reader, Rule
from cosyserve_words.languages.zh.language import Chinese
from cosyserve_words.languages.zh.script import traditional

_NOT_SAID = str.maketrans("幺", "一")
_TWO_HUNDRED = re.compile("兩百")


class Cantonese(Chinese):
    """Traditional characters: 兩個, but 二百; a telephone number has 一; $ is a Hong Kong dollar."""

    code = "yue"

    @cached_property
    def rules(self) -> Sequence[Rule]:
        return tuple(replace(rule, reader=_cantonese(rule.reader)) for rule in super().rules)

    def cardinal(self, digits: str) -> str:
        return _words(super().cardinal(digits))

    def ordinal(self, digits: str) -> str:
        return _words(super().ordinal(digits))

    def decimal(self, number: str) -> str:
        return _words(super().decimal(number))


def _words(words: str) -> str:
    return _TWO_HUNDRED.sub("二百", traditional(words).translate(_NOT_SAID))


def _cantonese(reader: Reader) -> Reader:
    def read(match: re.Match[str], context: Context) -> str | None:
        words = reader(match, context)
        if words and match[0].startswith("$"):
            words = words.replace("美元", "元")
        return _words(words) if words else words

    return read


LANGUAGE = Cantonese()
