"""A language: its words for numbers and signs, and its rules. A rule: what it takes, and how that is read."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cosyserve_words.spans import Options

DIGIT = "0-9"


class Language(ABC):
    """The words of one language. Readers of every language use these; its own rules may use more."""

    code: str
    spaced: ClassVar[bool] = True
    """Whether words stand apart."""
    thousands: str = ","
    """What a number has between its thousands."""
    full_stop: ClassVar[str] = "."
    comma: ClassVar[str] = ","
    signs: ClassVar[Mapping[str, str]] = {}
    """What a sign is called in addresses, code and formulas: `{"@": "at", ".": "dot"}`; also `point`, between the
    numbers of a version, `#tag`, before a hashtag's word, and `ampersand`, which is `&` in an address."""

    @property
    def rules(self) -> Sequence[Rule]:
        """The most particular first."""
        return ()

    def owns(self, word: str) -> bool:
        """Whether a foreign word behind a number is read in this language: units, `AM`, currencies."""
        del word
        return False

    @abstractmethod
    def cardinal(self, digits: str) -> str:
        """`1234` as a quantity. Figures alone, as many as there may be."""

    @abstractmethod
    def ordinal(self, digits: str) -> str:
        """`2` as second."""

    @abstractmethod
    def digits(self, digits: str) -> str:
        """`0592` figure by figure; signs and letters among them stay."""

    @abstractmethod
    def decimal(self, number: str) -> str:
        """`3.14`, `.5`, `-2`: with a point and figures on either side at will, a minus before it at will."""

    def figures(self, digits: str) -> str:
        """Figures within a name: `19` of COVID-19 as a number, more than two one by one."""
        return self.digits(digits) if len(digits) > 2 or digits.startswith("0") else self.cardinal(digits)

    def sign(self, sign: str) -> str:
        """What a sign is called, or the sign."""
        return self.signs.get(sign, sign)

    def joined(self, *words: str) -> str:
        """Words in a row, as this language writes them; empty ones count for nothing."""
        return (" " if self.spaced else "").join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Context:
    """Where a match stands. The match itself has the text around it: `match.string`, one line without markup.

    language: of this place. main: of the sentence, where it mixes scripts the one that is not Latin.
    """

    language: Language
    main: Language
    options: Options


Reader = Callable[[re.Match[str], Context], str | None]
"""What is said for a match; None where it is none of this rule's, "" where nothing is said."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of span.

    pattern: matched at a place, never searched; it may look behind. first: a class of the characters that it can begin
    with, as between brackets in a pattern. hint: a pattern true wherever this one may begin, for a rule that would else
    be tried at every word; "" where `first` says enough. Patterns must not go back and forth: one piece of text is read
    in a millisecond.
    """

    kind: str
    pattern: re.Pattern[str]
    reader: Reader
    first: str = DIGIT
    hint: str = ""


def rule(kind: str, pattern: str, reader: Reader, *, first: str = DIGIT, hint: str = "") -> Rule:
    """Make a rule. A figure is `[0-9]`, in whatever width it was written."""
    return Rule(kind, re.compile(pattern), reader, first, hint)
