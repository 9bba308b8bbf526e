"""Text to pieces: cleaned, cut into clauses, runs of one script and lengths that are soon spoken. Pure."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from cosyserve.protocol import SOUNDS
from cosyserve_workers.demo.readings import ENGLISH, SCRIPTS, SYLLABIC, WITHOUT_SPACES, in_letters, in_words

SENTENCE_PAUSE_S = 0.4
CLAUSE_PAUSE_S = 0.2
RUN_PAUSE_S = 0.05

_MOST_CHARS = 120
_MOST_SYLLABLES = 40
"""A piece is about ten seconds of speech at most, which take espeak-ng some 20 ms."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is spoken at once. text: ends in a mark, for the intonation. pause_s: silence before the next piece."""

    text: str
    voice: str
    pause_s: float


def pieces(text: str) -> Iterator[Piece]:
    """Cut text into pieces, in order; none where it has no letter or digit that can be read."""
    cleaned = clean(text)
    letter = _LETTER.search(cleaned)
    voice = (_voice_of(letter.group()) if letter else None) or ENGLISH
    for clause, mark, pause_s in _clauses(cleaned):
        spans = [
            (part, run_voice)
            for run, run_voice in _runs(clause, voice)
            for part in _parts(in_words(run, run_voice), run_voice)
        ]
        for index, (part, voice) in enumerate(spans, start=1):
            last = index == len(spans)
            ending, silence_s = (mark, pause_s) if last else (",", RUN_PAUSE_S)
            yield Piece(f"{in_letters(part, voice)}{ending}", voice, silence_s)


_LISTED = "".join(SCRIPTS.values())
_CONTROL_TOKENS = re.compile("|".join([r"<\|[^|]*\|>", *map(re.escape, SOUNDS)]))
"""CosyVoice's inline tokens: this voice can only leave them out."""
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_RARE_LATIN = re.compile("[\u0100-\u024f\u1e00-\u1eff]")
_UNREADABLE = re.compile(rf"[^{_LISTED}0-9\n!?。;、—–.,:'%&+=#*/@$€£¥°~|\\<>_-]")
"""What no voice of ours reads: other scripts, emoji, controls, lone surrogates; also brackets and quotation marks."""
_SPACES = re.compile(r" {2,}")
_REPEATED_SYMBOL = re.compile(r"([^\w\s])\1{2,}")


def clean(text: str) -> str:
    """Normalise (NFKC), and put a space for whatever cannot be read."""
    # NFKC makes the full-width comma ASCII, and 3，4 would become the number 3,4.
    normal = unicodedata.normalize("NFKC", text.replace("，", "、"))
    normal = _CONTROL_TOKENS.sub(" ", normal.replace("’", "'").replace("\u2044", "/"))
    normal = _RARE_LATIN.sub(_without_marks, _INVISIBLE.sub("", normal))
    return _SPACES.sub(" ", _REPEATED_SYMBOL.sub(r"\1", _UNREADABLE.sub(" ", normal)))


def _without_marks(letter: re.Match[str]) -> str:
    """The English voice spells these letters out by number; their base letters it reads."""
    return unicodedata.normalize("NFD", letter.group())[0]


_ABBREVIATIONS = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St", "vs", "No", "e.g", "i.e", "[A-Z]")
_FULL_STOP = "".join(rf"(?<!\b{word})" for word in _ABBREVIATIONS) + r"\.(?=\s|$|[^\x00-\x7f])"
_IN_A_SPAN = r"(?<=[A-Za-z0-9_/.=&-].)(?=[A-Za-z0-9_/])"
"""Behind a mark that is part of an address or a number. Full-width marks are ASCII by now: both sides have to be."""
_SENTENCE_END = rf"[!?](?!{_IN_A_SPAN})|[。\n]|{_FULL_STOP}"
_CLAUSE_END = rf"[;,:](?!{_IN_A_SPAN})|[、—–]|(?<=\s)-+\s"
_MARKS = re.compile(rf"(?P<sentence>{_SENTENCE_END})|{_CLAUSE_END}")
_INTONATIONS = {"!": "!", "?": "?"}
_SPEAKABLE = re.compile(rf"[{_LISTED}0-9]")


def _clauses(text: str) -> Iterator[tuple[str, str, float]]:
    """Clauses that have something to say, each with its mark for espeak-ng and the pause that follows."""
    start = 0
    for mark in _MARKS.finditer(text):
        clause = text[start : mark.start()].strip()
        start = mark.end()
        if not _SPEAKABLE.search(clause):
            continue
        if mark["sentence"]:
            yield clause, _INTONATIONS.get(mark[0], "."), SENTENCE_PAUSE_S
        else:
            yield clause, ",", CLAUSE_PAUSE_S
    rest = text[start:].strip()
    if _SPEAKABLE.search(rest):
        yield rest, ".", SENTENCE_PAUSE_S


_LATIN = SCRIPTS[ENGLISH]
_LATIN_WORD = rf"[{_LATIN}0-9]+(?:[-'.,:][{_LATIN}0-9]+)*"
_DEGREES = "°[CF]"
_WORDS = re.compile(
    "|".join([*(f"[{ranges}]+" for ranges in SCRIPTS.values() if ranges != _LATIN), _DEGREES, _LATIN_WORD])
)
_LETTER = re.compile(f"[{_LISTED}]")
_VOICES = [(voice, re.compile(f"[{ranges}]")) for voice, ranges in SCRIPTS.items()]


def _voice_of(word: str) -> str | None:
    """The voice for a word of one script; None for a number or unit, which takes its neighbours' voice."""
    if word[0] == "°":
        return None
    return next((voice for voice, script in _VOICES if script.search(word)), None)


def _runs(clause: str, voice: str) -> Iterator[tuple[str, str]]:
    """Stretches of one voice; `voice`, the one before this clause, is for a clause of numbers alone."""
    words = list(_WORDS.finditer(clause))
    voices = _settled([_voice_of(word.group()) for word in words], voice)
    begin = 0
    for word, last, current in zip(words[1:], voices, voices[1:], strict=False):
        if current != last:
            yield clause[begin : word.start()].strip(), last
            begin = word.start()
    yield clause[begin:].strip(), voices[-1]


def _settled(voices: list[str | None], default: str) -> list[str]:
    """A voice for the numbers too: their neighbours', and rather the one that is not English.

    Chinese readers say the number in "iPhone 15 发布" in Chinese.
    """
    before = list(accumulate(voices, _latest))
    after = list(accumulate(reversed(voices), _latest))[::-1]
    return [
        own or (right if left in (None, ENGLISH) and right else left) or default
        for own, left, right in zip(voices, before, after, strict=True)
    ]


def _latest(last: str | None, voice: str | None) -> str | None:
    return voice or last


_WORDS_AND_SPACES = re.compile(r"\S+\s*")
_CHARACTERS_AND_NUMBERS = re.compile(r"[\x00-\x7f]+|[^\x00-\x7f][ぁぃぅぇぉゃゅょァィゥェォャュョー]*")


def _parts(run: str, voice: str) -> Iterator[str]:
    """Cut a run that is too long between words, or where a script has no spaces between characters."""
    most = _MOST_SYLLABLES if voice in SYLLABIC else _MOST_CHARS
    part = ""
    for word in (_CHARACTERS_AND_NUMBERS if voice in WITHOUT_SPACES else _WORDS_AND_SPACES).findall(run):
        if part and len(part) + len(word) > most:
            yield part.strip()
            part = ""
        part += word
        while len(part) > most:
            yield part[:most]
            part = part[most:]
    if part.strip():
        yield part.strip()
