"""A user's text to the segments that are spoken one after another: normalisation and splitting, as upstream does them.

The same words in the same segments as CosyVoice2's own front end with wetext (upstream: `CosyVoiceFrontEnd.
text_normalize`, `split_paragraph`), and an answer where that one raises IndexError or AssertionError.
"""

import contextlib
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from itertools import groupby

import wetext
from num2words import num2words

from cosyserve_workers.native.text.tokenizer import TextTokenizer, without_control_tokens
from cosyserve_workers.text import any_of, shielded

MAX_LENGTH = 80
"""A segment is closed before the sentence that would make it longer than this, in characters of a text with Chinese in
it, else in tokens..."""
MIN_LENGTH = 60
"""...if it is longer than this already. One long sentence is never cut."""
MIN_LAST_LENGTH = 20
"""A last segment shorter than this joins the one before it."""

CHINESE = re.compile("[\u4e00-\u9fff]")
_CHINESE_MARKS = "。？！；：、.?!;:"
_ENGLISH_MARKS = ".?!;:"
_CLOSING_QUOTES = ('"', "”")
_CHINESE_REPLACEMENTS = (("²", "平方"), ("³", "立方"), (".", "。"), (" - ", "，"))
_MOST_FIGURES = 36
"""Longer numbers are read figure by figure: upstream, which has no words for them, fails."""
_DROPPED = str.maketrans("", "", "（）【】`")


class TextFrontEnd:
    """Normalises and splits. Safe to use from several threads.

    tokenizer: counts the tokens of English segments. normalises: otherwise numbers and signs stay as they are written.
    """

    def __init__(self, tokenizer: TextTokenizer, *, normalises: bool = True) -> None:
        self._tokenizer = tokenizer
        self._normalises = normalises
        self._hidden = (any_of(tokenizer.hidden),) if tokenizer.hidden else ()
        self._chinese = wetext.Normalizer(remove_erhua=False)
        self._english = wetext.Normalizer()
        self._lock = threading.Lock()  # wetext does not say that threads may share it

    def segments(self, text: str) -> list[str]:
        """Return what is to be spoken, in order, each segment for one run of the model.

        None where there is nothing to say: no letter and no digit.
        """
        normalised = self.normalise(text)
        pieces: list[str] = []
        if normalised and CHINESE.search(text):
            pieces = split(normalised, _CHINESE_MARKS, "。", len)
        elif normalised:
            pieces = split(normalised, _ENGLISH_MARKS, ".", lambda piece: len(self._tokenizer.encode(piece)))
        spoken = [piece for piece in pieces if not _only_marks(piece)]
        return spoken if any(character.isalnum() for piece in spoken for character in piece) else []

    def normalise(self, text: str) -> str:
        """Return `text` with numbers, dates and signs as words, in one piece: what a prompt's transcript becomes too.

        Control tokens are left out first, so that none is read aloud.
        """
        # A lone surrogate is no character; wetext refuses the whole text for one.
        text = without_control_tokens(text).encode("utf-8", "ignore").decode("utf-8").strip()
        if not text or not self._normalises:
            return text
        hidden, restored = shielded(text, *self._hidden)
        with self._lock:
            if CHINESE.search(text):
                return restored(_tidy_chinese(_in_words(self._chinese, hidden)))
            return restored(spell_digits(_in_words(self._english, hidden)))


def spell_digits(text: str) -> str:
    """Spell out what digits wetext has left (upstream: `spell_out_number`)."""
    runs = ((digits, "".join(run)) for digits, run in groupby(text, str.isdigit))
    return "".join(_words(run) if digits else run for digits, run in runs)


def _words(digits: str) -> str:
    """A number in the words of inflect, which upstream asks and which takes seconds to import.

    Raised figures, which are digits too, are left out, and say nought where they are alone.
    """
    figures = "".join(str(int(digit)) for digit in digits if digit.isdecimal()).lstrip("0") or "0"
    if len(figures) <= _MOST_FIGURES:
        return str(num2words(int(figures)))
    return ", ".join(num2words(int(figure)) for figure in figures)


def _in_words(normaliser: wetext.Normalizer, text: str) -> str:
    """Normalise with wetext; what it refuses (an empty line is enough) it gets again with single blanks, else stays."""
    folded = " ".join(text.split())
    for attempt in (text, folded):
        with contextlib.suppress(Exception):  # bare assertions, among others
            return str(normaliser.normalize(attempt))
    return folded


def split(text: str, marks: str, full_stop: str, length: Callable[[str], int]) -> list[str]:
    """Split a normalised, non-empty text into segments of `MIN_LENGTH` to `MAX_LENGTH` by `length`.

    Sentences end at one of `marks`; `full_stop` ends the last one where nothing else does.
    """
    segments: list[str] = []
    open_segment = ""
    for sentence in _sentences(text, marks, full_stop):
        if length(open_segment + sentence) > MAX_LENGTH and length(open_segment) > MIN_LENGTH:
            segments.append(open_segment)
            open_segment = ""
        open_segment += sentence
    if open_segment and segments and length(open_segment) < MIN_LAST_LENGTH:
        segments[-1] += open_segment
    elif open_segment:
        segments.append(open_segment)
    return segments


def _sentences(text: str, marks: str, full_stop: str) -> Iterator[str]:
    """Yield the sentences of a text, each with its mark; of several marks in a row the first is kept.

    A quotation mark right after a mark belongs to the sentence before it, even where that mark is dropped.
    """
    if text[-1] not in marks:
        text += full_stop
    sentence = ""
    start = 0
    for index, character in enumerate(text):
        if character not in marks:
            continue
        if index > start:
            yield from filter(None, (sentence,))
            sentence = text[start : index + 1]
        start = index + 1
        if text[start : start + 1] in _CLOSING_QUOTES:
            sentence += text[start] if sentence else ""
            start += 1
    yield from filter(None, (sentence,))


def _tidy_chinese(text: str) -> str:
    """Drop blanks that are not between two ASCII characters, and brackets; read some signs; close the sentence."""
    text = _without_blanks(text.replace("\n", ""))
    for sign, words in _CHINESE_REPLACEMENTS:
        text = text.replace(sign, words)
    text = text.translate(_DROPPED).replace("——", " ")
    return re.sub("[，,、]+$", "。", text)


def _without_blanks(text: str) -> str:
    """Keep a blank only where an ASCII character that is no blank stands on either side of it."""
    return re.sub("(?<![!-\x7f\x00-\x1f]) | (?![!-\x7f\x00-\x1f])", "", text)


def _only_marks(text: str) -> bool:
    """Tell whether there is nothing but punctuation and symbols in `text`."""
    return all(unicodedata.category(character)[0] in "PS" for character in text)
