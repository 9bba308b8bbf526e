"""Where voices' archives are kept: what the store needs of such a place, and which one the settings name."""

from collections.abc import Collection, Mapping
from typing import Protocol

from cosyserve.settings.sections import VoiceSettings
from cosyserve.voices.files import BrokenVoiceFile, Voice

Stamp = tuple[object, ...]
"""Of an archive: another one says that it is to be read again."""


class ShelfLost(Exception):
    """It cannot be reached or read now; the message says why."""


class Shelf(Protocol):
    """Archives by their keys, which other servers and people change too. Every method may block.

    place: what it is called in the log. period_s: how often it is worth a look. thorough_every: so many of those looks
    come to one that asks for the `stamps` though there seem to be no news.
    """

    place: str
    period_s: float
    thorough_every: int

    def open(self) -> None:
        """Clear away what killed servers have left."""

    def stamps(self) -> Mapping[str, Stamp]:
        """What there is, by key. Raises ShelfLost."""

    def has_news(self, key: str, broken: Mapping[str, Stamp]) -> bool:
        """Whether `stamps` may tell of an archive that it did not tell of before, of that key above all.

        broken: those that were not whole at the last look. Cheaper than `stamps`. Raises ShelfLost.
        """

    def read_facts(self, stamps: Mapping[str, Stamp]) -> Mapping[str, Voice | BrokenVoiceFile]:
        """What archives say of their voices, by key. Raises ShelfLost."""

    def read_audio(self, key: str, voice: Voice) -> bytes:
        """The audio of a voice. Raises BrokenVoiceFile, ShelfLost."""

    def create(self, key: str, voice: Voice, audio: bytes) -> Stamp:
        """Keep an archive for good, whole or not at all.

        Raises FileExistsError where the key is taken, by whichever server; OSError where nothing may be written;
        ShelfLost.
        """

    def delete(self, key: str) -> None:
        """For good; it may be gone already. Raises OSError, ShelfLost."""

    def settle(self, voices: Collection[Voice]) -> None:
        """These are all that there are: of what was kept of others nothing is needed."""

    def remembered(self) -> list[Voice]:
        """What is known without reaching it, the oldest first."""


def open_shelf(settings: VoiceSettings) -> Shelf:
    """A bucket where `voices.url` names one, else the folder. Raises SettingsError where a package is missing."""
    if settings.url:
        from cosyserve.voices.bucket import Bucket

        return Bucket(settings.url, settings.dir)
    from cosyserve.voices.folder import Folder

    return Folder(settings.dir)
