"""The folder of voice files, as it was at the last look: others may put files there, change them and take them away."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from cosyserve.errors import InvalidVoiceName
from cosyserve.voices.files import SUFFIX, BrokenVoiceFile, Voice, read_voice
from cosyserve.voices.names import clean_name, name_key

SETTLED_NS = 2 * 10**9
"""How old a change must be to be told from the next one by its time: some file systems count in two seconds."""

Stamp = tuple[int, int, int]
"""Of a file: when it was changed, its size, its inode. Another one says that it is to be read again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A voice that answers to its name."""

    voice: Voice
    path: Path


@dataclass(frozen=True, slots=True)
class _File:
    """voice: what it said when it was last whole; None where it never was."""

    stamp: Stamp
    voice: Voice | None
    whole: bool


class VoiceFolder:
    """Every method may block on the disk; one thread at a time.

    entries: by `name_key`; a new mapping after each change, so that anybody may read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[Path, _File] = {}
        self._settled: int | None = None
        self._complaint = ""
        self.entries: Mapping[str, Entry] = {}

    def look(self) -> None:
        """Read what has come or changed, and forget what has gone.

        What is broken is told in the log and left as it is; it is read again when it has changed: somebody may still be
        copying it.
        """
        changed_at = _changed_at(self._path)
        stamps = self._stamps()
        if stamps is None:
            return
        self._settled = changed_at if changed_at and time.time_ns() - changed_at > SETTLED_NS else None
        gone = self._files.keys() - stamps.keys()
        news = sorted(path for path, stamp in stamps.items() if self._stamp_of(path) != stamp)
        for path in gone:
            del self._files[path]
        for path in news:
            self._files[path] = self._read(path, stamps[path])
        if gone or news:
            self._arrange(news)

    def has_news(self) -> bool:
        """Whether a look may find a name that is not known; cheaper than that."""
        if self._settled is None or _changed_at(self._path) != self._settled:
            return True
        return any(not file.whole and _stamp(path) != file.stamp for path, file in self._files.items())

    def put(self, path: Path, voice: Voice) -> None:
        """The voice was just written there."""
        self._files[path] = _File(_stamp(path) or (0, 0, 0), voice, whole=True)
        self._arrange([path])

    def drop(self, path: Path) -> None:
        """The file was just deleted."""
        del self._files[path]
        self._arrange()

    def _stamps(self) -> dict[Path, Stamp] | None:
        """By path; None where the folder cannot be read, which is told once."""
        try:
            paths = [path for path in self._path.iterdir() if path.suffix == SUFFIX]
        except (FileNotFoundError, NotADirectoryError):
            paths = []
        except OSError as error:
            self._complain(str(error))
            return None
        self._complain("")
        return {path: stamp for path in paths if (stamp := _stamp(path)) is not None}

    def _complain(self, reason: str) -> None:
        if reason and reason != self._complaint:
            log.warning("the folder of voices cannot be read", dir=str(self._path), reason=reason)
        self._complaint = reason

    def _stamp_of(self, path: Path) -> Stamp | None:
        return self._files[path].stamp if path in self._files else None

    def _read(self, path: Path, stamp: Stamp) -> _File:
        try:
            voice = read_voice(path)
            clean_name(voice.name)
        except (BrokenVoiceFile, InvalidVoiceName) as error:
            log.warning("not a whole voice, left out", path=str(path), reason=str(error))
            before = self._files.get(path)
            return _File(stamp, None if before is None else before.voice, whole=False)
        return _File(stamp, voice, whole=True)

    def _arrange(self, news: Iterable[Path] = ()) -> None:
        """Of two files with one name the first counts, by the files' names."""
        entries: dict[str, Entry] = {}
        for path, file in sorted(self._files.items(), key=lambda item: item[0]):
            if file.voice is None:
                continue
            first = entries.setdefault(name_key(file.voice.name), Entry(file.voice, path))
            if first.path != path and path in news:
                log.warning("a second voice of the same name, left out", path=str(path), voice=file.voice.name)
        self.entries = entries


def _stamp(path: Path) -> Stamp | None:
    """None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _changed_at(folder: Path) -> int | None:
    stamp = _stamp(folder)
    return None if stamp is None else stamp[0]
