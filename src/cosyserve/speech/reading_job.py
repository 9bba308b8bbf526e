"""What a text says: a job for a helper, and the command `words`. The event loop's process never imports it."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from cosyserve.protocol import SOUNDS
from cosyserve.speech.wording import Pronunciations
from cosyserve_words.lexicon import Lexicon, load
from cosyserve_words.reading import prepare, read
from cosyserve_words.spans import Options, Unreadable

# Before anybody asks.
prepare()


def words(
    text: str, language: str, pronunciations: Pronunciations, settings: Mapping[str, str]
) -> dict[str, Any] | str:
    """Its segments and spans, as JSON has them; a text is a refusal, in words for the client.

    language: the text's, "" where nobody said. settings: `language`, `markup` and `lexicon` of `[text]`, and
    `lexicon_version`.
    """
    try:
        reading = read(text, _options(language, pronunciations, settings))
    except Unreadable as error:
        return str(error)
    return {
        "segments": [asdict(segment) for segment in reading.segments],
        "spans": [asdict(span) for span in reading.spans],
    }


def _options(language: str, pronunciations: Pronunciations, settings: Mapping[str, str]) -> Options:
    return Options(
        language=language,
        default=settings["language"] or Options().default,
        markup="read" if settings["markup"] == "read" else "strip",
        kept=frozenset(SOUNDS),
        lexicon=_loaded(settings["lexicon"], settings.get("lexicon_version", "")).with_own(pronunciations),
    )


@lru_cache(maxsize=1)
def _loaded(path: str, _version: str) -> Lexicon:
    """As it was when this process was first asked for this version: the engines, too, read it again when told to."""
    return load(Path(path)) if path else Lexicon()
