"""What becomes of a request's text before the model sees it: cleaned, normalised by the library, cut into segments.

| in the text | what happens |
|---|---|
| control and invisible characters, private and unassigned code points | removed; line breaks and tabs count as spaces |
| emoji and pictographs | removed: the model has no sound for them, and makes one up |
| `<|endofprompt|>` and anything else of the form `<|...|>` | removed: a caller's text must not end the prompt |
| `[breath]`, `[laughter]`, `<strong>...</strong>` and the like | kept: they are the model's own controls |
| nothing left with a letter or a digit in it | RequestError: there is nothing to say |
| one or two characters | spoken, with the full stop that the library appends |
| more than `BLOCK_CHARS` characters | normalised block by block: the first sound need not wait for the last page |
| a segment of more than `SEGMENT_TOKENS` tokens | cut at commas, then at spaces, then anywhere |
| what the library's normaliser fails on | spoken as it is written |

The library's own rules (numbers to words, 60 to 80 tokens a segment) apply between the first step and the last.
"""

import logging
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from cosyserve.protocol import FailureCode
from cosyserve_workers.engine import RequestError

BLOCK_CHARS = 300
"""Normalising takes about a millisecond a character on a slow core. Whole requests of everyday length fit in."""
SEGMENT_TOKENS = 120
"""Above what the library makes of ordinary sentences; about 30 s of speech, which a TensorRT plan still takes."""

END_OF_PROMPT = "<|endofprompt|>"
SYSTEM_PROMPT = "You are a helpful assistant."
"""What every prompt of CosyVoice3 begins with."""

_MARKER = re.compile(r"<\|.*?\|>", re.DOTALL)
_HALF_MARKER = re.compile(r"<\||\|>")
_PICTOGRAPHS = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe00-\ufe0f\u20e3\U000e0000-\U000e007f]+")
_UNSEEN = frozenset({"Cf", "Cs", "Co", "Cn"})
_SENTENCE_END = re.compile(r"(?<=[。！？!?；;])|(?<=\.)(?=\s)")
_PAUSE = re.compile(r"(?<=[，,、；;：:…])")
_SPACE = re.compile(r"(?<=\s)")

log = logging.getLogger(__name__)


def clean(text: str) -> str:
    """Without what only a machine could have meant; white space in single spaces, none at the ends."""
    kept = "".join(_visible(char) for char in text)
    return " ".join(_without_markers(_PICTOGRAPHS.sub(" ", kept)).split())


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if category in _UNSEEN:
        return ""
    return " " if category in {"Cc", "Zl", "Zp"} else char


def _without_markers(text: str) -> str:
    # Spaces take their place, so that the halves around one cannot become another.
    return _HALF_MARKER.sub(" ", _MARKER.sub(" ", text))


def is_speakable(text: str) -> bool:
    """Whether there is a letter or a digit, in any script."""
    return any(unicodedata.category(char)[0] in "LN" for char in text)


class TextFrontEnd:
    """The library's text rules, made safe for any text and any number of threads.

    frontend: the library's. version3: whether the model is CosyVoice3, which wants its system prompt.
    """

    def __init__(self, frontend: Any, *, version3: bool) -> None:
        self._frontend = frontend
        self._version3 = version3
        # Neither the normalisers nor the tokenizer promise to be safe in several threads.
        self._lock = threading.Lock()

    def tokens(self, text: str) -> list[int]:
        """Ids of the language model's vocabulary."""
        if not text:
            return []
        with self._lock:
            ids: list[int] = self._frontend.tokenizer.encode(text, allowed_special=self._frontend.allowed_special)
        return ids

    def segments(self, text: str) -> Iterator[str]:
        """Cut a request's text into what is spoken at one go. Raises RequestError where there is nothing to say."""
        cleaned = clean(text)
        if not is_speakable(cleaned):
            raise RequestError(
                FailureCode.UNSPEAKABLE_TEXT, "the text has nothing to say: no letter or digit in any script"
            )
        return self._cut_up(cleaned)

    def _cut_up(self, cleaned: str) -> Iterator[str]:
        for block in pack(cleaned, (_SENTENCE_END, _PAUSE, _SPACE), BLOCK_CHARS, len):
            for segment in self._normalise(block):
                spoken = _without_markers(segment).strip()
                if is_speakable(spoken):
                    yield from pack(spoken, (_PAUSE, _SPACE), SEGMENT_TOKENS, lambda part: len(self.tokens(part)))

    def _normalise(self, block: str) -> list[str]:
        if not is_speakable(block):
            return []
        try:
            with self._lock:
                segments: list[str] = self._frontend.text_normalize(block, split=True)
        except Exception as error:
            # The error's own text may quote the user's.
            log.warning("the library's normaliser failed (%s): the text is spoken as written", type(error).__name__)
            return [block]
        return segments

    def prompt_text(self, transcript: str) -> str:
        """Make what stands before the text in the mode zero_shot: what the prompt's voice says, normalised."""
        said = clean(transcript)
        try:
            with self._lock:
                said = self._frontend.text_normalize(said, split=False) if said else ""
        except Exception as error:
            log.warning(
                "the library's normaliser failed (%s): the prompt text is taken as written", type(error).__name__
            )
        return self.system_prompt() + _without_markers(said).strip()

    def system_prompt(self) -> str:
        """Make what stands before the text where the request has nothing to put there."""
        return SYSTEM_PROMPT + END_OF_PROMPT if self._version3 else ""

    def instruction(self, instruction: str) -> str:
        """Make what stands before the text in the mode instruct2: the instruction and, once, the mark of its end."""
        wanted = clean(instruction)
        if self._version3 and not wanted.startswith(SYSTEM_PROMPT):
            wanted = f"{SYSTEM_PROMPT} {wanted}"
        return wanted + END_OF_PROMPT


def pack(text: str, borders: tuple[re.Pattern[str], ...], limit: int, size: Callable[[str], int]) -> Iterator[str]:
    """Cut `text` into parts of at most `limit`, as long as can be, at the first kind of border that will do.

    borders: patterns of no width, the best place to cut first; where none helps, a part is halved.
    """
    if size(text) <= limit:
        if text.strip():
            yield text
        return
    if not borders:
        middle = len(text) // 2
        if not middle:
            yield text
            return
        yield from pack(text[:middle], (), limit, size)
        yield from pack(text[middle:], (), limit, size)
        return
    packed = ""
    for piece in borders[0].split(text):
        if packed and size(packed + piece) > limit:
            yield from pack(packed, borders[1:], limit, size)
            packed = ""
        packed += piece
    yield from pack(packed, borders[1:], limit, size)
