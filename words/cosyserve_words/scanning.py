"""A surface to spans: at each place where a rule may begin, the rules are asked one after the other."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from cosyserve_words.common.all import FIRST, LAST
from cosyserve_words.language import Context, Language, Rule
from cosyserve_words.spans import DROPPED, LEXICON, MOST_GROWTH, PAUSE, WORD, Options, Span
from cosyserve_words.surface import ATOM, Atom, Surface
from cosyserve_words.tongues import Tongues


class Ruleset:
    """The rules of one language, shared ones first, sorted by what they can begin with."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._firsts = [re.compile(f"[{rule.first}]") for rule in rules]
        self._by_char: dict[str, tuple[Rule, ...]] = {}
        hints = {rule.hint or f"[{rule.first}]" for rule in rules}
        self.trigger = re.compile("|".join([ATOM, *sorted(hints)]))

    def at(self, char: str) -> tuple[Rule, ...]:
        """The rules that can begin with this character."""
        found = self._by_char.get(char)
        if found is None:
            pairs = zip(self._rules, self._firsts, strict=True)
            found = tuple(rule for rule, first in pairs if first.match(char))
            if len(self._by_char) < 4096:
                self._by_char[char] = found
        return found


@lru_cache(maxsize=64)
def ruleset(language: Language, main: Language) -> Ruleset:
    """The rules for a place in one language; those of the sentence's come after, for what only they can begin."""
    more = main.rules if main is not language else ()
    return Ruleset([*FIRST, *language.rules, *more, *LAST])


@lru_cache(maxsize=64)
def trigger(languages: frozenset[Language]) -> re.Pattern[str]:
    """Where a rule of any of these languages may begin."""
    return Ruleset([*FIRST, *(rule for language in languages for rule in language.rules), *LAST]).trigger


def spans(surface: Surface, options: Options) -> Iterator[Span]:
    """The spans of a surface, in order: they leave out only what the surface has left out."""
    return _Scan(surface, options).spans()


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
        begin = trigger(self._tongues.languages)
        plain = place = 0
        for start, end, spoken in [*self._words, (len(self._text), len(self._text), "")]:
            while (found := begin.search(self._text, place)) and found.start() < start:
                made, place = self._read(found.start(), start)
                if made:
                    yield from self._plain(plain, found.start())
                    yield made
                    plain = place
            yield from self._plain(plain, start)
            if start < end:
                yield self._span(start, end, LEXICON, self._tongues.at(start, end).code, spoken)
            plain = place = end

    def _find_words(self) -> list[tuple[int, int, str]]:
        """What the author has words for."""
        lexicon = self._options.lexicon
        return list(lexicon.found(self._text, lambda start, end: self._tongues.at(start, end).code)) if lexicon else []

    def _read(self, place: int, most: int) -> tuple[Span | None, int]:
        """What begins at `place` and ends at `most` at the latest; and from where to look on."""
        atom = self._surface.atoms.get(place)
        if atom:
            return self._settled(atom, place), place + 1
        here = self._tongues.at(place, place + 1)
        for rule in ruleset(here, self._main).at(self._text[place]):
            found = rule.pattern.match(self._text, place)
            if found and place < found.end() <= most and ATOM not in found[0]:
                made = self._say(rule, found)
                if made:
                    return made, found.end()
        return None, place + 1

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
