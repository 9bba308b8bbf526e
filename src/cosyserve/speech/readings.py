"""What a text will say, for those who ask before they have it spoken. A helper reads: it has a process for that."""

from pathlib import Path
from typing import Any

from cosyserve.errors import InvalidField, UnspeakableText
from cosyserve.settings.sections import TextSettings
from cosyserve.speech.wording import Pronunciations
from cosyserve.wire.helper import Helpers
from cosyserve.wire.helper_process import HelperFailed

JOBS = "cosyserve.speech.reading_job"
"""The module of the job, which no part of the front end imports."""
READ_S = 10.0
"""A hundred times what the longest text needs."""

Reading = dict[str, Any]


class Readings:
    """Reads as the settings say, in helpers' processes, which import `JOBS`."""

    def __init__(self, helpers: Helpers, settings: TextSettings) -> None:
        self._helpers = helpers
        self._settings = {
            "language": settings.language,
            "markup": settings.markup,
            "lexicon": str(settings.lexicon or ""),
            "lexicon_version": _version(settings.lexicon),
        }

    async def read(self, text: str, language: str, pronunciations: Pronunciations, param: str = "text") -> Reading:
        """Segments and spans. param: what the client calls the text.

        Raises InvalidField where the text asks for what is not taken, UnspeakableText, Unavailable.
        """
        try:
            read: Reading | str = await self._helpers.run(
                f"{JOBS}:words", text, language, pronunciations, self._settings, timeout_s=READ_S
            )
        except HelperFailed as error:
            raise UnspeakableText(f"{param} cannot be read: {error}", param=param) from error
        if isinstance(read, str):
            raise InvalidField(f"{param}: {read}", param=param)
        return read


def _version(lexicon: Path | None) -> str:
    """Another one for another content: helpers keep what they have read."""
    try:
        return str(lexicon.stat().st_mtime_ns) if lexicon else ""
    except OSError:
        return ""
