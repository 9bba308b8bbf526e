"""Text that arrives in pieces, cut into clauses that can be spoken one by one."""

import unicodedata

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


class ClauseCutter:
    """One an utterance. However a text is cut into pieces, the clauses are the same."""

    def __init__(self) -> None:
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
        clauses = []
        while (end := self._find_end()) is not None:
            clauses += self._cut(end)
        return clauses

    def flush(self) -> list[str]:
        """The rest, where it can be spoken; the next text begins anew."""
        clauses = self._cut(len(self._text))
        self._spoken = False
        return clauses

    def _find_end(self) -> int | None:
        """How far the first clause goes, or None while that cannot be told."""
        text = self._text
        while self._looked_at < len(text):
            place = self._looked_at
            following = text[place + 1 : place + 2]
            needs_more = text[place] in END_BEFORE_SPACE or text[place] in PAUSE_BEFORE_SPACE
            if needs_more and not following:
                return None
            self._looked_at += 1
            self._weight += _weight(text[place])
            if self._ends_at(place, following):
                return place + 1
            if place + 1 >= MAX_CLAUSE_CHARS:
                return _last_space(text[: place + 1]) or place + 1
        return None

    def _ends_at(self, place: int, following: str) -> bool:
        character = self._text[place]
        closed = following.isspace() or following in CLOSERS
        if character in ALWAYS_END or (character in END_BEFORE_SPACE and closed):
            return self._weight >= MIN_SENTENCE_WEIGHT and not (
                character == "." and _is_abbreviation(self._text[:place])
            )
        if character in ALWAYS_PAUSE or (character in PAUSE_BEFORE_SPACE and closed):
            return self._weight >= (MIN_CLAUSE_WEIGHT if self._spoken else FIRST_CLAUSE_WEIGHT)
        return False

    def _cut(self, end: int) -> list[str]:
        clause, rest = self._text[:end].strip().lstrip(CLOSERS).lstrip(), self._text[end:]
        self._text = rest
        self._looked_at = self._weight = 0
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
    word = before.rsplit(maxsplit=1)[-1].lstrip("\"'“‘([{") if before.strip() else ""
    return (
        "." in word.rstrip(".")
        or (len(word) == 1 and word.isalpha() and word.isascii())
        or word.lower() in ABBREVIATIONS
    )


def _last_space(text: str) -> int:
    return max(text.rfind(" "), text.rfind("\t")) + 1
