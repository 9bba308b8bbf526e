"""Which language a place in a text is in: by what was asked for, and by the letters around."""

import re
from bisect import bisect_left
from dataclasses import dataclass

from cosyserve_words.language import Language
from cosyserve_words.languages.find import base_of, find
from cosyserve_words.languages.guessing import guess
from cosyserve_words.spans import Options

HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
LATIN = "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
SCRIPTS = {
    "han": HAN,
    "kana": KANA,
    "hangul": HANGUL,
    "latin": LATIN,
    "cyrillic": "\u0400-\u052f",
    "arabic": "\u0600-\u065f\u066e-\u06ef\u06fa-\u06ff\u0750-\u077f",
    "hebrew": "\u0590-\u05ff",
    "thai": "\u0e00-\u0e4f",
    "devanagari": "\u0900-\u0965\u0970-\u097f",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "armenian": "\u0530-\u058f",
    "georgian": "\u10a0-\u10ff",
}
EASTERN = frozenset({"han", "kana", "hangul"})
WRITTEN_IN = {
    "zh": "han", "yue": "han", "ja": "kana", "ko": "hangul", "ru": "cyrillic", "uk": "cyrillic", "be": "cyrillic",
    "bg": "cyrillic", "sr": "cyrillic", "mn": "cyrillic", "kk": "cyrillic", "ar": "arabic", "fa": "arabic",
    "he": "hebrew", "th": "thai", "hi": "devanagari", "el": "greek", "hy": "armenian", "ka": "georgian",
}  # fmt: skip
"""A language's own script; Latin where it is not here."""
USUAL = {
    "han": "zh", "kana": "ja", "hangul": "ko", "latin": "en", "cyrillic": "ru", "arabic": "ar", "hebrew": "he",
    "thai": "th", "devanagari": "hi", "greek": "el", "armenian": "hy", "georgian": "ka",
}  # fmt: skip
"""The language of a script's letters where nobody has said which."""

_RUN = re.compile("|".join(f"(?P<{name}>[{letters}]+)" for name, letters in SCRIPTS.items()))
_ASCII_WORD = re.compile("[A-Za-z]+")
_CLAUSE_END = re.compile(r"[。！？；!?\n]|[.;](?=\s)")


_NAME_WORDS = 2
"""So many borders between Latin words in a row: no name, but a phrase."""


@dataclass(frozen=True, slots=True)
class Run:
    """Letters of one script in a row."""

    start: int
    end: int
    script: str


class Tongues:
    """The languages of one piece of text."""

    def __init__(self, text: str, options: Options) -> None:
        self._text = text
        self._options = options
        self._languages: dict[str, Language] = {}
        if text.isascii():
            self._be_ascii()
            return
        runs = [Run(found.start(), found.end(), str(found.lastgroup)) for found in _RUN.finditer(text)]
        scripts = [run.script for run in runs]
        self._is_eastern = not EASTERN.isdisjoint(scripts)
        self._has_names_alone = self._is_eastern and scripts.count("latin") <= _NAME_WORDS
        self._home = self._home_of(set(scripts))
        self._runs = [run for run in runs if self._tells(run)]
        self._scripts = {run.script for run in self._runs}
        self._only = self._bare() if not self._runs else None
        if len(self._scripts) == 1:
            self._only = self._of_script(next(iter(self._scripts)))
        self._starts = [run.start for run in self._runs]

    def _be_ascii(self) -> None:
        """The most usual text has one language for every place: a word that tells is enough."""
        self._home = self._bare()
        self._is_eastern = self._has_names_alone = False
        words = (Run(found.start(), found.end(), "latin") for found in _ASCII_WORD.finditer(self._text))
        self._scripts = {"latin"} if any(map(self._tells, words)) else set[str]()
        self._only = self._of_script("latin") if self._scripts else self._home

    @property
    def main(self) -> Language:
        """The language of the piece as a whole: an eastern one where its letters are there."""
        if self._only:
            return self._only
        return self._of_script(
            next((name for name in ("kana", "hangul", "han") if name in self._scripts), self._first())
        )

    @property
    def languages(self) -> frozenset[Language]:
        """All that places of it may be in."""
        return frozenset({self.main, *map(self._of_script, self._scripts)})

    def at(self, start: int, end: int) -> Language:
        """The language of what stands from `start` to `end`."""
        if self._only:
            return self._only
        place = bisect_left(self._starts, start)
        before = self._runs[place - 1] if place else None
        after = next((run for run in self._runs[place : place + 2] if run.start >= end), None)
        if before and _CLAUSE_END.search(self._text, before.end, start):
            before = None
        if after and _CLAUSE_END.search(self._text, end, after.start):
            after = None
        if before and before.end == start and before.script == "latin" and self._is_eastern:
            return self.main
        return self._between(before, after, end)

    def _between(self, before: Run | None, after: Run | None, end: int) -> Language:
        if after is not None and after.script == "latin" and (before is None or before.script in EASTERN):
            return self._of_script("latin") if self._counts(after, end) else self._eastern_at(before)
        if before is None or after is None:
            near = before or after
            return self._embedding(near) if near else self.main
        if before.script == "latin" and after.script in EASTERN:
            return self._of_script(after.script)
        if before.script == after.script == "latin" and self._is_eastern:
            return self._amid(before)
        return self._of_script(before.script)

    def _amid(self, before: Run) -> Language:
        """The language between two Latin words of a sentence that is not: `PS5 Pro`, or a whole English phrase."""
        first = last = bisect_left(self._starts, before.start)
        while first and self._runs[first - 1].script == "latin" and last - first < _NAME_WORDS:
            first -= 1
        while last + 1 < len(self._runs) and self._runs[last + 1].script == "latin" and last - first < _NAME_WORDS:
            last += 1
        return self.main if last - first < _NAME_WORDS else self._of_script("latin")

    def _counts(self, word: Run, end: int) -> bool:
        """Whether a Latin word is what a number that ends at `end` counts; `6 members` are of the word's language."""
        return self._text[end : word.start].isspace() or not self._is_eastern

    def _eastern_at(self, before: Run | None) -> Language:
        return self._of_script(before.script) if before else self.main

    def _embedding(self, near: Run) -> Language:
        """The language of what stands beside one run alone: a Latin word in an eastern sentence says nothing of it."""
        place = bisect_left(self._starts, near.start)
        embedded = near.script == "latin" and place > 0 and self._runs[place - 1].script in EASTERN
        return self._of_script(self._runs[place - 1].script if embedded else near.script)

    def _home_of(self, scripts: set[str]) -> Language:
        """The language whose units and letters are no foreign words here."""
        eastern = next((name for name in ("kana", "hangul", "han") if name in scripts), None)
        return self._of_script(eastern) if eastern else self._bare()

    def _tells(self, run: Run) -> bool:
        """Whether letters tell a language: a single one does not, nor does a unit."""
        if run.script not in {"latin", "greek"}:
            return True
        word = self._text[run.start : run.end]
        return len(word) > 1 and not self._home.owns(word)

    def _first(self) -> str:
        return self._runs[0].script

    def _bare(self) -> Language:
        return find(base_of(self._options.language or self._options.default))

    def _of_script(self, script: str) -> Language:
        if script not in self._languages:
            told_by_words = script in {"han", "cyrillic", "arabic"} or (script == "latin" and not self._has_names_alone)
            self._languages[script] = find(language_of(script, self._text if told_by_words else "", self._options))
        return self._languages[script]


def language_of(script: str, text: str, options: Options) -> str:
    """Which of a script's languages: the one asked for, the text's own, the service's, the usual one."""
    if script == "han":
        script = _eastern(text)
    asked, default = base_of(options.language), base_of(options.default)
    if asked and _writes(asked, script):
        return asked
    return guess(script, text) or (default if _writes(default, script) else USUAL[script])


def _eastern(text: str) -> str:
    """Whose Chinese characters these are."""
    found = re.search(f"(?P<kana>[{KANA}])|(?P<hangul>[{HANGUL}])", text)
    return str(found.lastgroup) if found else "han"


def _writes(code: str, script: str) -> bool:
    own = WRITTEN_IN.get(code, "latin")
    return own == script or (script == "han" and own in EASTERN)
