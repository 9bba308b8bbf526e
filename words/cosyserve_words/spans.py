"""What a reading consists of: spans, which tile the written text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

WORD, DROPPED, PAUSE, KEPT, LEXICON = "word", "dropped", "pause", "kept", "lexicon"
"""Kinds that are no rule's: plain words, what is not said, silence, a mark that the engine itself understands, words
that the author gave."""

MOST_GROWTH = 32
"""No span says more than so many characters for each that is written."""


class Unreadable(ValueError):
    """The text asks for what is not taken; its message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the written text and what is said for it.

    start, end: characters of the written text. kind: `WORD` and the like, or a rule's. language: whose words these are,
    BCP 47. spoken: empty where nothing is said. pause_s: seconds of silence behind it.
    """

    start: int
    end: int
    kind: str
    language: str
    spoken: str
    pause_s: float = 0.0


class Pronunciations(Protocol):
    """How an author wants words to be said (`lexicon.Lexicon`)."""

    def found(self, text: str, language: Callable[[int, int], str]) -> Iterator[tuple[int, int, str]]:
        """Words of it in a text, from left to right: start, end, what is said. language: asked for each place."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How to read.

    language: the request's, BCP 47, or "". default: the service's. markup: whether signs of markup and emoji are left
    out or named. kept: the model's own marks, such as `[breath]`. pinyin: whether the model takes `[h][ǎo]`.
    """

    language: str = ""
    default: str = "zh"
    markup: Literal["strip", "read"] = "strip"
    kept: frozenset[str] = frozenset()
    pinyin: bool = False
    lexicon: Pronunciations | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """What is spoken in one go, and the silence behind it in seconds."""

    text: str
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says: its spans in order, without gaps, and the segments that they make."""

    spans: tuple[Span, ...]
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """All that is said, in one line."""
        return " ".join(segment.text for segment in self.segments if segment.text)
