"""How an engine has its texts read: as words, in the segments that it speaks in one go, with the silences between."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cosyserve.protocol import FailureCode, Synthesize, TextConfig
from cosyserve_words.lexicon import Lexicon, load
from cosyserve_words.reading import prepare, read
from cosyserve_words.spans import Options, Unreadable
from cosyserve_workers.engine import LoadError, RequestError
from cosyserve_workers.text import clean, is_speakable, without_markers


class Part(NamedTuple):
    """What is spoken in one go, and the silence behind it in seconds."""

    text: str
    pause_s: float = 0.0


class Reader:
    """Reads for one engine. Safe to use from several threads.

    kept: the marks that the engine's model understands. pinyin: whether it takes `[h][ǎo]`. Raises LoadError where the
    lexicon cannot be read.
    """

    def __init__(self, config: TextConfig, kept: Iterable[str] = (), *, pinyin: bool = False) -> None:
        self._kept = frozenset(kept)
        self._pinyin = pinyin
        self.read_as(config)
        # Before anybody waits.
        prepare()

    def read_as(self, config: TextConfig) -> None:
        """Go by these settings from the next text on. Raises LoadError, and then stays as it was."""
        options = Options(
            default=config.language or Options().default,
            markup="read" if config.markup == "read" else "strip",
            kept=self._kept,
            pinyin=self._pinyin,
        )
        # One assignment: threads are reading.
        self._rules = (options, _loaded(config.lexicon))

    def parts(self, text: str, request: Synthesize, size: Callable[[str], float]) -> list[Part]:
        """What is said of a request's text; none but the first is without words. size: how much some words take.

        Raises RequestError where the text asks for what is not taken.
        """
        try:
            # Composed first: the model's marks are.
            composed = unicodedata.normalize("NFC", without_markers(text))
            reading = read(composed, self._options_of(request), size)
        except Unreadable as error:
            raise RequestError(FailureCode.UNSPEAKABLE_TEXT, str(error)) from error
        parts: list[Part] = []
        for segment in reading.segments:
            words = clean(segment.text)
            words = words if is_speakable(words) else ""
            if not words and parts:
                parts[-1] = Part(parts[-1].text, parts[-1].pause_s + segment.pause_s)
            elif words or segment.pause_s:
                parts.append(Part(words, segment.pause_s))
        return parts

    def line(self, text: str, request: Synthesize) -> str:
        """A transcript in words, in one piece; silences count for nothing."""
        return " ".join(part.text for part in self.parts(text, request, len) if part.text)

    def _options_of(self, request: Synthesize) -> Options:
        options, lexicon = self._rules
        return replace(options, language=request.language, lexicon=lexicon.with_own(request.pronunciations))


def _loaded(path: str) -> Lexicon:
    try:
        return load(Path(path)) if path else Lexicon()
    except (Unreadable, OSError) as error:
        raise LoadError(f"text.lexicon cannot be read: {error}") from error
