"""Copies on this machine of archives that are kept elsewhere, so that what is known is spoken while that is away."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import structlog

from cosyserve.voices.files import BrokenVoiceFile, Voice, read_audio, read_voice, remove_parts, write_over

SUFFIX = ".copy"

log = structlog.get_logger(__name__)


class Copies:
    """One file a voice, named by all that is known of it: a voice that was replaced has another. Safe in threads.

    Where the folder cannot be written there are none, which is told once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._complained = False

    def open(self) -> None:
        """Clear away what killed servers have left."""
        try:
            remove_parts(self._folder)
        except OSError as error:
            self._complain(error)

    def audio_of(self, voice: Voice) -> bytes | None:
        """None where there is no whole copy."""
        try:
            return read_audio(self._path(voice))
        except BrokenVoiceFile:
            return None

    def keep(self, voice: Voice, archive: bytes) -> None:
        """Another one of it may be there already."""
        try:
            write_over(self._path(voice), archive)
        except OSError as error:
            self._complain(error)

    def drop_others(self, voices: Collection[Voice]) -> None:
        """Than these."""
        try:
            for path in set(self._paths()) - {self._path(voice) for voice in voices}:
                path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)

    def voices(self) -> list[Voice]:
        """Those that there are copies of, the oldest first."""
        found = []
        for path in self._paths():
            try:
                found.append(read_voice(path))
            except BrokenVoiceFile:
                path.unlink(missing_ok=True)
        return sorted(found, key=lambda voice: voice.created_at)

    def _paths(self) -> list[Path]:
        return list(self._folder.glob(f"*{SUFFIX}"))

    def _path(self, voice: Voice) -> Path:
        facts = hashlib.blake2b(voice.model_dump_json().encode(), digest_size=16)
        return self._folder / f"{facts.hexdigest()}{SUFFIX}"

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            log.warning("no copies of voices are kept here", dir=str(self._folder), reason=str(error))
        self._complained = True
