"""Which voices a shelf has, as it was at the last look: others may put archives there, change and remove them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from cosyserve.errors import InvalidVoiceName
from cosyserve.voices.files import BrokenVoiceFile, Voice
from cosyserve.voices.names import clean_name, name_key
from cosyserve.voices.shelf import Shelf, ShelfLost, Stamp

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A voice that answers to its name. key: of its archive."""

    voice: Voice
    key: str


@dataclass(frozen=True, slots=True)
class _Archive:
    """voice: what it said when it was last whole; None where it never was."""

    stamp: Stamp
    voice: Voice | None
    whole: bool


class Catalogue:
    """Every method may block; one thread at a time.

    entries: by `name_key`; a new mapping after each change, so that anybody may read it.
    lost: why the shelf could not be looked at the last time, "" where it could.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._archives: dict[str, _Archive] = {}
        self._arranged = False
        self.lost = ""
        self.entries: Mapping[str, Entry] = {}

    def look(self) -> None:
        """Read what has come or changed, and forget what has gone. Where the shelf is lost, all stays as it was.

        What is broken is told in the log and left as it is; it is read again when it has changed: somebody may still be
        copying it.
        """
        try:
            stamps = self._shelf.stamps()
            news = {key: stamp for key, stamp in sorted(stamps.items()) if self._stamp_of(key) != stamp}
            facts = self._shelf.read_facts(news) if news else {}
        except ShelfLost as error:
            self.lose(str(error))
            return
        self._find_again()
        gone = self._archives.keys() - stamps.keys()
        for key in gone:
            del self._archives[key]
        for key, read in facts.items():
            self._archives[key] = self._archive(key, news[key], read)
        if gone or news or not self._arranged:
            self._arrange(news)

    def look_for(self, key: str) -> None:
        """The same, where a look may find something new, of that key above all."""
        broken = {key: archive.stamp for key, archive in self._archives.items() if not archive.whole}
        try:
            news = self._shelf.has_news(key, broken)
        except ShelfLost as error:
            self.lose(str(error))
            return
        if news or self.lost:
            self.look()

    def recall(self) -> None:
        """What the shelf remembers stands in for what it cannot tell."""
        if self.lost:
            self._arranged = False
            self.entries = {name_key(voice.name): Entry(voice, "") for voice in self._shelf.remembered()}

    def lose(self, reason: str) -> None:
        """Somebody found that the shelf cannot be reached; the next look may find it again."""
        if not self.lost:
            log.warning("the store of the voices cannot be reached", place=self._shelf.place, reason=reason)
        self.lost = reason

    def is_broken(self, key: str) -> bool:
        """Whether there is an archive of that key which never was whole."""
        return key in self._archives and self._archives[key].voice is None

    def put(self, key: str, voice: Voice, stamp: Stamp) -> None:
        """The voice was just kept there."""
        self._archives[key] = _Archive(stamp, voice, whole=True)
        self._arrange([key])

    def drop(self, key: str) -> None:
        """The archive was just deleted."""
        self._archives.pop(key, None)
        self._arrange()

    def _find_again(self) -> None:
        if self.lost:
            log.info("the store of the voices can be reached again", place=self._shelf.place)
        self.lost = ""

    def _stamp_of(self, key: str) -> Stamp | None:
        return self._archives[key].stamp if key in self._archives else None

    def _archive(self, key: str, stamp: Stamp, read: Voice | BrokenVoiceFile) -> _Archive:
        if isinstance(read, Voice):
            try:
                clean_name(read.name)
                return _Archive(stamp, read, whole=True)
            except InvalidVoiceName as error:
                read = BrokenVoiceFile(error.message)
        log.warning("not a whole voice, left out", place=self._shelf.place, file=key, reason=str(read))
        before = self._archives.get(key)
        return _Archive(stamp, None if before is None else before.voice, whole=False)

    def _arrange(self, news: Iterable[str] = ()) -> None:
        """Of two archives with one name the first counts, by their keys."""
        entries: dict[str, Entry] = {}
        for key, archive in sorted(self._archives.items()):
            if archive.voice is None:
                continue
            first = entries.setdefault(name_key(archive.voice.name), Entry(archive.voice, key))
            if first.key != key and key in news:
                place, name = self._shelf.place, archive.voice.name
                log.warning("a second voice of the same name, left out", place=place, file=key, voice=name)
        self.entries = entries
        self._arranged = True
        self._shelf.settle([entry.voice for entry in entries.values()])
