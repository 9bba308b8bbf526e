"""Text that arrives in pieces, cut into clauses that can be spoken one by one."""

import re
import unicodedata

from cosyserve.protocol import END_OF_PROMPT, split_system_prompt
from cosyserve_words.markup.ssml import is_ssml
from cosyserve_words.streaming import is_open

ALWAYS_END = frozenset("。！？；…\n")
"""Ends a sentence whatever follows."""
END_BEFORE_SPACE = frozenset(".!?;")
"""Ends a sentence where a space or a closing quote follows: not in 3.14, e.g. or a URL."""
ALWAYS_PAUSE = frozenset("，、：")
PAUSE_BEFORE_SPACE = frozenset(",:")
CLOSERS = "\"'”’」』】》）)]}"

MIN_SENTENCE_WEIGHT = 4
"""Shorter sentences join the next one: models speak two characters badly, or not at all."""
MIN_CLAUSE_WEIGHT = 24
FIRST_CLAUSE_WEIGHT = 10
"""The first clause may be shorter, because everybody waits for it."""
MAX_CLAUSE_CHARS = 200
"""Text without any punctuation is cut here, at a space where there is one."""

ABBREVIATIONS = frozenset(
    {"approx", "apt", "ave", "capt", "co", "col", "corp", "dept", "dr", "eg", "etc", "gen", "gov", "ie", "inc", "jr"}
    | {"lt", "ltd", "mr", "mrs", "ms", "nos", "prof", "rep", "rev", "sen", "sgt", "sr", "st", "vol", "vs"}
)
NUMBERED = frozenset(
    {"app", "art", "ch", "chap", "eq", "eqs", "ex", "fig", "figs", "no", "nr", "num", "op", "para", "pp", "pt", "pts"}
    | {"sec", "tab", "ver"}
)
"""Abbreviations before a number: `No. 5` goes on, and `No.` is a sentence."""
_SPACE = re.compile(r"\s+(?![\s\d])|(?<![\s\d])\s+")
_SSML_END = "</speak>"
_UNIT = re.compile(r"[!-~\d]+(?:(?<=\d)[\s，：](?=\d)[!-~\d]+)*|.", re.DOTALL)
"""A number, a URL or the like, or one character of a script without spaces."""


class ClauseCutter:
    """One an utterance. However a text is cut into pieces, the clauses are the same, unless somebody hurries.

    system_prompt: what came before the text (`split_system_prompt`); its mark is looked for until a clause is cut.
    waits: whether a clause is over unless what comes next belongs to it.
    """

    def __init__(self) -> None:
        self.system_prompt = ""
        self.waits = False
        self._begun = False
        self._text = ""
        self._looked_at = 0
        self._weight = 0
        self._spoken = False

    @property
    def pending_chars(self) -> int:
        """What waits for the rest of its clause."""
        return len(self._text)

    def feed(self, text: str) -> list[str]:
        """The clauses that are complete with this text."""
        self._text += text
        if not self._begun and END_OF_PROMPT in self._text:
            self._begin()
        clauses = []
        while (end := self._find_end()) is not None:
            clauses += self._cut(end)
        return clauses

    def hurry(self) -> list[str]:
        """The clauses that are complete if nothing comes."""
        end = self._find_end(patient=False) if self.waits else None
        self.waits = False
        return [] if end is None else [*self._cut(end), *self.feed("")]

    def flush(self) -> list[str]:
        """The rest, where it can be spoken; the next text begins anew."""
        clauses = self._cut(len(self._text))
        self._spoken = self._begun = self.waits = False
        return clauses

    def _begin(self) -> None:
        self.system_prompt, self._text = split_system_prompt(self._text)
        self._looked_at = self._weight = 0
        self._begun = True

    def _find_end(self, *, patient: bool = True) -> int | None:
        """How far the first clause goes, or None while that cannot be told."""
        text = self._text
        self.waits = False
        if is_ssml(text):
            # It is read as a whole.
            end = text.find(_SSML_END)
            return None if end < 0 else end + len(_SSML_END)
        while self._looked_at < len(text):
            place = self._looked_at
            if patient and self._needs_more(place):
                self.waits = True
                return None
            self._looked_at += 1
            self._weight += _weight(text[place])
            if self._ends_at(place) and not is_open(text[: place + 1]):
                return place + 1
            if place + 1 >= MAX_CLAUSE_CHARS:
                return _last_gap(text[: place + 1])
        return None

    def _needs_more(self, place: int) -> bool:
        """Whether it hangs on what has not come yet if the clause ends here."""
        character = self._text[place]
        if (character in END_BEFORE_SPACE or character in PAUSE_BEFORE_SPACE) and len(self._text) == place + 1:
            return True
        return self._may_go_on(place) and not self._next_visible(place)

    def _may_go_on(self, place: int) -> bool:
        """Whether a digit behind this mark would belong to what is before it: `No. 5`, `14：30`, `May 5, 2024`."""
        character = self._text[place]
        if character == ".":
            return _last_word(self._text[:place]).lower() in NUMBERED
        pauses = character in ALWAYS_PAUSE or character in PAUSE_BEFORE_SPACE
        return pauses and place > 0 and self._text[place - 1].isdecimal()

    def _goes_on(self, mark: str, following: str) -> bool:
        """Whether what follows belongs to what may go on: a figure, and behind an abbreviation a small letter."""
        return following.isdecimal() or (mark == "." and following.islower())

    def _next_visible(self, place: int) -> str:
        return self._text[place + 1 :].lstrip(" \t\u00a0\u3000")[:1]

    def _ends_at(self, place: int) -> bool:
        character, following = self._text[place], self._text[place + 1 : place + 2]
        if self._may_go_on(place) and self._goes_on(character, self._next_visible(place)):
            return False
        closed = following.isspace() or following in CLOSERS
        if character in ALWAYS_END or (character in END_BEFORE_SPACE and closed):
            return self._weight >= MIN_SENTENCE_WEIGHT and not (
                character == "." and _is_abbreviation(self._text[:place])
            )
        if character in ALWAYS_PAUSE or (character in PAUSE_BEFORE_SPACE and closed):
            return self._weight >= (MIN_CLAUSE_WEIGHT if self._spoken else FIRST_CLAUSE_WEIGHT)
        return False

    def _cut(self, end: int) -> list[str]:
        # A mark this late is before nothing that could still be kept from being spoken.
        clause = self._text[:end].replace(END_OF_PROMPT, " ").strip().lstrip(CLOSERS).lstrip()
        self._text = self._text[end:]
        self._looked_at = self._weight = 0
        self._begun = True
        if not _is_speakable(clause):
            return []
        self._spoken = True
        return [clause]


def _weight(character: str) -> int:
    """How much there is to say of a character: a Chinese one is about as long as two letters."""
    if unicodedata.category(character)[0] not in "LN":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _is_speakable(text: str) -> bool:
    return any(map(_weight, text))


def _is_abbreviation(before: str) -> bool:
    """Whether a full stop after this belongs to the word: Dr., e.g., U.S., J."""
    word = _last_word(before)
    return (
        "." in word.rstrip(".")
        or (len(word) == 1 and word.isalpha() and word.isascii())
        or word.lower() in ABBREVIATIONS
    )


def _last_word(text: str) -> str:
    return text.rsplit(maxsplit=1)[-1].lstrip("\"'“‘([{") if text.strip() else ""


def _last_gap(text: str) -> int:
    """Where to cut a text that goes on: best at a space, and neither in a number nor in a word."""
    # What is last may go on, behind a space too.
    most = len(text.rstrip())
    for end in (_SPACE, _UNIT):
        places = [found.end() for found in end.finditer(text) if found.end() < most]
        if places:
            return places[-1]
    return len(text)
