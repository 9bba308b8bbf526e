"""What a text says: a job for a helper, and the command `words`. The event loop's process never imports it."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cosyserve.protocol import SOUNDS
from cosyserve.speech.wording import Pronunciations
from cosyserve_words.lexicon import Lexicon, load, of_pairs
from cosyserve_words.reading import read
from cosyserve_words.spans import Options, Unreadable

for _language in ("en", "zh"):
    # The first reading in a language loads its words: that is done before anybody asks.
    read("1 km", Options(language=_language))


def words(
    text: str, language: str, pronunciations: Pronunciations, settings: Mapping[str, str]
) -> dict[str, Any] | str:
    """Its segments and spans, as JSON has them; a text is a refusal, in words for the client.

    language: the text's, "" where nobody said. settings: `language`, `markup` and `lexicon` of `[text]`.
    """
    try:
        reading = read(text, _options(language, pronunciations, settings))
    except Unreadable as error:
        return str(error)
    return {
        "segments": [{"text": segment.text, "pause_s": segment.pause_s} for segment in reading.segments],
        "spans": [
            {
                "start": span.start,
                "end": span.end,
                "kind": span.kind,
                "language": span.language,
                "spoken": span.spoken,
                "pause_s": span.pause_s,
            }
            for span in reading.spans
        ],
    }


def _options(language: str, pronunciations: Pronunciations, settings: Mapping[str, str]) -> Options:
    lexicon = _loaded(settings["lexicon"])
    if pronunciations:
        lexicon = of_pairs(dict(pronunciations)).over(lexicon)
    return Options(
        language=language,
        default=settings["language"] or Options().default,
        markup="read" if settings["markup"] == "read" else "strip",
        kept=frozenset(SOUNDS),
        lexicon=lexicon,
    )


@lru_cache(maxsize=1)
def _loaded(path: str) -> Lexicon:
    """As it was when this process was first asked: the engines do not read it again either."""
    return load(Path(path)) if path else Lexicon()
