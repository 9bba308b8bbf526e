"""A surface to spans: at each place where a rule may begin, the rules are asked one after the other."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from cosyserve_words.common.all import FIRST, LAST
from cosyserve_words.language import Context, Language, Rule
from cosyserve_words.spans import DROPPED, MOST_GROWTH, PAUSE, WORD, Options, Span
from cosyserve_words.surface import ATOM, Surface
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


def spans(surface: Surface, options: Options) -> Iterator[Span]:
    """The spans of a surface, in order: they leave out only what the surface has left out."""
    text = surface.text
    tongues = Tongues(text, options)
    main = tongues.main
    rules = ruleset(main, main)
    plain = place = 0
    while found := rules.trigger.search(text, place):
        place = found.start()
        made, end = _read(surface, place, tongues, options)
        if made is None:
            place += 1
            continue
        if plain < place:
            yield _plain(surface, plain, place, main.code)
        yield made
        plain = place = end
    if plain < len(text):
        yield _plain(surface, plain, len(text), main.code)


def _read(surface: Surface, place: int, tongues: Tongues, options: Options) -> tuple[Span | None, int]:
    """What begins at `place`, and where it ends."""
    atom = surface.atoms.get(place)
    if atom:
        code = atom.language or tongues.main.code
        silent = atom.kind == PAUSE and not atom.pause_s
        said = tongues.main.full_stop if silent else atom.spoken
        made = Span(surface.starts[place], surface.ends[place], atom.kind, code, said, atom.pause_s)
        return made, place + 1
    text, main = surface.text, tongues.main
    here = tongues.at(place, place + 1)
    for rule in ruleset(here, main).at(text[place]):
        found = rule.pattern.match(text, place)
        if not found or found.end() == place:
            continue
        language = tongues.at(place, found.end())
        spoken = rule.reader(found, Context(language, main, options))
        written = surface.ends[found.end() - 1] - surface.starts[place]
        if spoken is not None and len(spoken) <= MOST_GROWTH * written and ATOM not in found[0]:
            kind = rule.kind if spoken else DROPPED
            return Span(surface.starts[place], surface.ends[found.end() - 1], kind, language.code, spoken), found.end()
    return None, place


def _plain(surface: Surface, start: int, end: int, language: str) -> Span:
    return Span(surface.starts[start], surface.ends[end - 1], WORD, language, surface.text[start:end])
