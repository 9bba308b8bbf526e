"""What becomes of a request's text before the model sees it: read as words, cleaned, cut into segments.

Where `text.normaliser` is not `cosyserve`:

| in the text | what happens |
|---|---|
| control and invisible characters, private and unassigned code points | removed; line breaks and tabs count as spaces |
| emoji and pictographs | removed: the model has no sound for them, and makes one up |
| `...<|endofprompt|>` at the beginning of a text or transcript | CosyVoice3's system prompt; removed for CosyVoice2 |
| `<|endofprompt|>` elsewhere, and anything else of the form `<|...|>` | removed: a text must not end the prompt again |
| `[breath]`, `<strong>...</strong>`, `[IY1]`, `[ǐ]` and the like | kept, composed (NFC): the model's own controls |
| nothing left with a letter or a digit in it | RequestError: there is nothing to say |
| one or two characters | spoken, with the full stop that the library appends |
| more than `BLOCK_CHARS` characters | normalised block by block: the first sound need not wait for the last page |
| a segment of more than `SEGMENT_TOKENS` tokens | cut at commas, then at spaces, then between characters |
| a number with its separators, a time, a URL, a path | never cut, unless it is longer than a block or segment itself |
| what the library's normaliser fails on | spoken as it is written |

The library's own rules (numbers to words, 60 to 80 tokens a segment) apply between the first step and the last.
"""

import logging
import threading
from collections.abc import Iterator
from typing import Any

from cosyserve.protocol import END_OF_PROMPT, Synthesize, TextConfig, split_system_prompt
from cosyserve_workers.engine import nothing_to_say
from cosyserve_workers.reading import Part, Reader
from cosyserve_workers.text import BORDERS, SYSTEM_PROMPT, clean, is_speakable, pack, shielded, without_markers

BLOCK_CHARS = 300
"""Normalising takes about a millisecond a character on a slow core. Whole requests of everyday length fit in."""
SEGMENT_TOKENS = 120
"""Above what the library makes of ordinary sentences; about 30 s of speech, which a TensorRT plan still takes."""

log = logging.getLogger(__name__)


class TextFrontEnd:
    """The library's text rules, made safe for any text and any number of threads.

    frontend: the library's. version3: whether the model is CosyVoice3, which wants its system prompt. config: how texts
    are read.
    """

    def __init__(self, frontend: Any, *, version3: bool, config: TextConfig) -> None:
        self._frontend = frontend
        self._version3 = version3
        self._normalises = config.normaliser == "wetext"
        self._reader = Reader(config, _marks(frontend), pinyin=version3) if config.normaliser == "cosyserve" else None
        # Neither the normalisers nor the tokenizer promise to be safe in several threads.
        self._lock = threading.Lock()

    def read_as(self, config: TextConfig) -> None:
        """Read the texts to come so. Raises LoadError."""
        if self._reader is not None:
            self._reader.read_as(config)

    def tokens(self, text: str) -> list[int]:
        """Ids of the language model's vocabulary."""
        if not text:
            return []
        with self._lock:
            ids: list[int] = self._frontend.tokenizer.encode(text, allowed_special=self._frontend.allowed_special)
        return ids

    def parts(self, request: Synthesize) -> Iterator[Part]:
        """Cut a request's text into what is spoken at one go, and silences; only the first may be silence alone.

        Raises RequestError where there is nothing to say: at once, or at the end where nothing is left of it by then.
        """
        text = split_system_prompt(request.text)[1]
        if self._reader is None:
            return map(Part, self.segments(text))
        if not is_speakable(clean(text)):
            raise nothing_to_say()
        parts = self._reader.parts(text, request, lambda words: len(self.tokens(words)))
        if not any(part.text for part in parts):
            raise nothing_to_say()
        return (piece for part in parts for piece in self._short_enough(part))

    def segments(self, text: str) -> Iterator[str]:
        """The same as the library has it. text: without its system prompt."""
        cleaned = clean(text)
        if not is_speakable(cleaned):
            raise nothing_to_say()
        return self._cut_up(cleaned)

    def _short_enough(self, part: Part) -> Iterator[Part]:
        *pieces, last = self._packed(part.text) or [""]
        yield from map(Part, pieces)
        yield Part(last, part.pause_s)

    def _packed(self, text: str) -> list[str]:
        return list(pack(text, BORDERS[1:], SEGMENT_TOKENS, lambda part: len(self.tokens(part))))

    def _cut_up(self, cleaned: str) -> Iterator[str]:
        spoken = ""
        for block in pack(cleaned, BORDERS, BLOCK_CHARS, len):
            for segment in self._normalise(block):
                said = without_markers(segment).strip()
                if is_speakable(said):
                    spoken = said
                    yield from self._packed(said)
        if not spoken:
            raise nothing_to_say()

    def _normalise(self, block: str) -> list[str]:
        if not is_speakable(block):
            return []
        hidden, restored = shielded(block)
        try:
            with self._lock:
                segments: list[str] = self._frontend.text_normalize(hidden, split=True, text_frontend=self._normalises)
        except Exception as error:
            # The error's own text may quote the user's.
            log.warning("the library's normaliser failed (%s): the text is spoken as written", type(error).__name__)
            return [block]
        return [restored(segment) for segment in segments]

    def before(self, request: Synthesize) -> str:
        """Make what stands before a request's text in the mode zero_shot: what the prompt's voice says, as words."""
        system_prompt = split_system_prompt(request.text)[0]
        if self._reader is None:
            return self.prompt_text(request.prompt_text, system_prompt)
        own, transcript = split_system_prompt(request.prompt_text)
        return self.system_prompt(own or system_prompt) + self._reader.line(transcript, request)

    def prompt_text(self, transcript: str, system_prompt: str = "") -> str:
        """The same as the library has it. system_prompt: that of the text; the transcript's own goes before it."""
        own, transcript = split_system_prompt(transcript)
        said = self._in_one_piece(clean(transcript))
        return self.system_prompt(own or system_prompt) + without_markers(said).strip()

    def _in_one_piece(self, said: str) -> str:
        hidden, restored = shielded(said)
        try:
            with self._lock:
                normal = self._frontend.text_normalize(hidden, split=False, text_frontend=self._normalises)
        except Exception as error:
            log.warning(
                "the library's normaliser failed (%s): the prompt text is taken as written", type(error).__name__
            )
            return said
        return restored(normal) if said else ""

    def system_prompt(self, sent: str = "") -> str:
        """Make what stands before all else, where the model wants it: what was sent, or else the usual one."""
        return (clean(sent) or SYSTEM_PROMPT) + END_OF_PROMPT if self._version3 else ""

    def instruction(self, instruction: str, system_prompt: str = "") -> str:
        """Make what stands before the text in the mode instruct2: the instruction and, once, the mark of its end."""
        wanted = clean(instruction)
        if self._version3 and not wanted.startswith(SYSTEM_PROMPT):
            wanted = f"{clean(system_prompt) or SYSTEM_PROMPT} {wanted}"
        return wanted + END_OF_PROMPT


def _marks(frontend: Any) -> tuple[str, ...]:
    """What a text may hold that is the model's own: sounds, stresses, and CosyVoice3's phonemes and pinyin."""
    special: list[str] = frontend.tokenizer.special_tokens["additional_special_tokens"]
    return tuple(mark for mark in special if not mark.startswith("<|"))
