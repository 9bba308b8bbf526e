"""A folder of voice files as a shelf: local, or one that several machines have mounted."""

import contextlib
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import structlog

from cosyserve.voices.files import (
    SUFFIX,
    BrokenVoiceFile,
    Voice,
    delete_file,
    packed,
    read_audio,
    read_voice,
    remove_parts,
    write_new,
)
from cosyserve.voices.shelf import ShelfLost, Stamp

SETTLED_S = 2.0
"""How long nothing must have changed before the folder's time tells of the next change: some count in two seconds."""
TRIES = 3
"""How often a file is written that somebody clears away while it is."""

log = structlog.get_logger(__name__)


class Folder:
    """Of a file in a subfolder, or with another suffix, nothing is known. A file's stamp: its time, size and inode."""

    period_s = 2.0
    thorough_every = 5

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._path = path
        self._seen: tuple[int, float] | None = None
        self._settled: int | None = None

    def open(self) -> None:
        """Clear away what killed servers have left."""
        try:
            remove_parts(self._path)
        except OSError as error:
            log.warning("remains of unfinished uploads could not be removed", reason=str(error))

    def stamps(self) -> Mapping[str, Stamp]:
        """What there is, by the files' names. Raises ShelfLost."""
        self._settled = self._settled_at(_changed_at(self._path))
        try:
            paths = [path for path in self._path.iterdir() if path.suffix == SUFFIX]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise ShelfLost(str(error)) from error
        return {path.name: stamp for path in paths if (stamp := _stamp(path)) is not None}

    def has_news(self, _: str, broken: Mapping[str, Stamp]) -> bool:
        """By the folder's own time, and that of files which somebody may still be copying."""
        if self._settled is None or _changed_at(self._path) != self._settled:
            return True
        return any(_stamp(self._path / key) != stamp for key, stamp in broken.items())

    def read_facts(self, stamps: Mapping[str, Stamp]) -> Mapping[str, Voice | BrokenVoiceFile]:
        """One by one; without those that have gone meanwhile."""
        return {key: facts for key in stamps if (facts := self._facts(key)) is not None}

    def read_audio(self, key: str, _: Voice) -> bytes:
        """Raises BrokenVoiceFile."""
        return read_audio(self._path / key)

    def create(self, key: str, voice: Voice, audio: bytes) -> Stamp:
        """Raises FileExistsError, OSError."""
        path, content = self._path / key, packed(voice, audio)
        for _ in range(TRIES - 1):
            # Where locks do not reach other machines, one that starts takes this file for a dead server's.
            with contextlib.suppress(FileNotFoundError):
                write_new(path, content)
                break
        else:
            write_new(path, content)
        return _stamp(path) or ()

    def delete(self, key: str) -> None:
        """Raises OSError."""
        delete_file(self._path / key)

    def settle(self, voices: Collection[Voice]) -> None:
        """Nothing is kept beside the files."""

    def remembered(self) -> list[Voice]:
        """Nothing: what can be read is here."""
        return []

    def _facts(self, key: str) -> Voice | BrokenVoiceFile | None:
        try:
            return read_voice(self._path / key)
        except BrokenVoiceFile as error:
            return error if (self._path / key).exists() else None

    def _settled_at(self, changed_at: int | None) -> int | None:
        """The folder's time, where that has been the same for long enough, by our own clock."""
        if changed_at is None:
            self._seen = None
        elif self._seen is None or self._seen[0] != changed_at:
            self._seen = changed_at, time.monotonic()
        elif time.monotonic() - self._seen[1] > SETTLED_S:
            return changed_at
        return None


def _stamp(path: Path) -> Stamp | None:
    """None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _changed_at(folder: Path) -> int | None:
    """None where it is not there. It is opened: a time that is only asked for may be half a minute old on NFS."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
