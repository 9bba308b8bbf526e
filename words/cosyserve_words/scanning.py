"""A surface to spans: at each place where a rule may begin, the rules are asked one after the other."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from cosyserve_words.common.all import FIRST, LAST
from cosyserve_words.language import Context, Language, Rule
from cosyserve_words.spans import DROPPED, LEXICON, MOST_GROWTH, PAUSE, WORD, Options, Span
from cosyserve_words.surface import ATOM, Atom, Surface
from cosyserve_words.tongues import Tongues

Bucket = tuple[re.Pattern[str], tuple[Rule, ...]]
"""The rules that can begin with one character, and what must match there for any of them to be tried."""

_WORD = "A-Za-z"
_STREETS = ("[Ss]t|[Aa]v|[Rr]d|[Cc]t|[Dd]r|[Ll]n|[Pp]l|[Ss]q", "[Aa]ve|[Hh]wy|[Tt]er|[Cc]ir|[Tt]rl|[Ff]wy|[Aa]ly")
_BORING = (
    rf"(?:(?:[a-z]+|[A-Z][a-z]+)(?<!\b(?:{_STREETS[0]}))(?<!\b(?:{_STREETS[1]}))"
    r"(?<!\b(?:[Bb]lvd|[Ee]xpy|[Pp]kwy|[Cc]res)),? (?=[A-Za-z]))+"
)
"""Words before words, which no rule begins with, but for streets: passed over at once, for speed."""


class Ruleset:
    """The rules of one language and of every language, sorted by what they can begin with."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._firsts = [re.compile(f"[{rule.first}]") for rule in rules]
        self._by_char: dict[str, Bucket | None] = {}

    def at(self, char: str) -> Bucket | None:
        """The rules that can begin with this character."""
        if char not in self._by_char:
            if len(self._by_char) > 4096:
                self._by_char.clear()
            self._by_char[char] = self._bucket(char)
        return self._by_char[char]

    def _bucket(self, char: str) -> Bucket | None:
        pairs = zip(self._rules, self._firsts, strict=True)
        found = tuple(rule for rule, first in pairs if first.match(char))
        if not found:
            return None
        hints = {rule.hint for rule in found}
        return re.compile("|".join(sorted(hints)) if "" not in hints else ""), found


@lru_cache(maxsize=64)
def ruleset(language: Language, main: Language) -> Ruleset:
    """The rules for a place in one language; those of the sentence's come after, for what only they can begin."""
    more = main.rules if main is not language else ()
    return Ruleset([*FIRST, *language.rules, *more, *LAST])


@lru_cache(maxsize=64)
def trigger(languages: frozenset[Language]) -> re.Pattern[str]:
    """Where a rule of any of these languages may begin.

    It matches what is plain, to be passed over at once, or as its group the character or word where rules are tried.
    """
    rules = [*FIRST, *(rule for language in languages for rule in language.rules), *LAST]
    # A hyphen or a caret that stood at an end of its class is in the midst of this one.
    firsts = "".join(sorted({re.sub(r"^[-^]|(?<!\\)-$", lambda sign: f"\\{sign[0]}", rule.first) for rule in rules}))
    return re.compile(rf"{_BORING}|[^{firsts}{_WORD}{ATOM}]+|([{_WORD}]+|(?s:.))")


def spans(surface: Surface, options: Options) -> Iterator[Span]:
    """The spans of a surface, in order: they leave out only what the surface has left out."""
    return _Scan(surface, options).spans()


class _Made(NamedTuple):
    """A span, and where it stands in the surface."""

    place: int
    end: int
    span: Span


class _Scan:
    """Goes along one surface."""

    def __init__(self, surface: Surface, options: Options) -> None:
        self._surface = surface
        self._text = surface.text
        self._options = options
        self._tongues = Tongues(surface.text, options)
        self._main = self._tongues.main
        self._words = self._find_words()

    def spans(self) -> Iterator[Span]:
        plain = 0
        for start, end, spoken in [*self._words, (len(self._text), len(self._text), "")]:
            for made in self._between(plain, start):
                yield from self._plain(plain, made.place)
                yield made.span
                plain = made.end
            yield from self._plain(plain, start)
            if start < end:
                yield self._span(start, end, LEXICON, self._tongues.at(start, end).code, spoken)
            plain = end

    def _between(self, place: int, most: int) -> Iterator["_Made"]:
        """What rules make of the text from `place` to `most`."""
        look = trigger(self._tongues.languages)
        while place < most and (found := look.match(self._text, place)):
            made = self._read(place, most) if found.lastindex else None
            if made:
                yield made
            place = made.end if made else found.end()

    def _find_words(self) -> list[tuple[int, int, str]]:
        """What the author has words for."""
        lexicon = self._options.lexicon
        return list(lexicon.found(self._text, lambda start, end: self._tongues.at(start, end).code)) if lexicon else []

    def _read(self, place: int, most: int) -> "_Made | None":
        """What begins at `place` and ends at `most` at the latest."""
        atom = self._surface.atoms.get(place)
        if atom:
            return _Made(place, place + 1, self._settled(atom, place))
        bucket = ruleset(self._tongues.at(place, place + 1), self._main).at(self._text[place])
        if not bucket or not bucket[0].match(self._text, place):
            return None
        for rule in bucket[1]:
            found = rule.pattern.match(self._text, place)
            if found and place < found.end() <= most and ATOM not in found[0]:
                made = self._say(rule, found)
                if made:
                    return _Made(place, found.end(), made)
        return None

    def _say(self, rule: Rule, found: re.Match[str]) -> Span | None:
        language = self._tongues.at(found.start(), found.end())
        spoken = rule.reader(found, Context(language, self._main, self._options))
        if spoken is None:
            return None
        made = self._span(found.start(), found.end(), rule.kind if spoken else DROPPED, language.code, spoken)
        return made if len(spoken) <= MOST_GROWTH * (made.end - made.start) else None

    def _settled(self, atom: Atom, place: int) -> Span:
        silent = atom.kind == PAUSE and not atom.pause_s
        said = self._main.full_stop if silent else atom.spoken
        made = self._span(place, place + 1, atom.kind, atom.language or self._main.code, said)
        return replace(made, pause_s=atom.pause_s)

    def _plain(self, start: int, end: int) -> Iterator[Span]:
        if start < end:
            yield self._span(start, end, WORD, self._main.code, self._text[start:end])

    def _span(self, start: int, end: int, kind: str, language: str, spoken: str) -> Span:
        return Span(self._surface.starts[start], self._surface.ends[end - 1], kind, language, spoken)
