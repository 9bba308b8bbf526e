"""One voice, one file: a ZIP archive of the audio as it was uploaded and of what is known about it.

A file appears under its name whole or not at all: it is written under another name, brought to the disk, and renamed.
"""

import contextlib
import fcntl
import os
import secrets
import zipfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

SUFFIX = ".voice"
PART_SUFFIX = ".part"
_FACTS = "voice.json"
_AUDIO = "audio"
_MAX_FACTS_BYTES = 1 << 20


class BrokenVoiceFile(Exception):
    """The file is not a whole voice; the message says why."""


class Voice(BaseModel):
    """What is known about a stored voice; the fields are those of voice.json.

    digest: hash of the audio file's bytes. media_type and size: of that file, bytes. created_at: Unix seconds.
    consent: what the uploader stated, as it was stated.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    name: str
    created_at: int
    digest: str
    media_type: str
    size: int
    sample_rate: int
    duration_s: float
    prompt_text: str = ""
    instruction: str = ""
    description: str = ""
    consent: str = ""


def write_voice(path: Path, voice: Voice, audio: bytes) -> None:
    """Write, and return when it would survive a power cut. An older file of that name is replaced. Raises OSError."""
    _make_folder(path.parent)
    part = path.with_name(f"{path.stem}-{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        with part.open("xb") as file:
            # For as long as it is held, no other server takes the file for a dead one's.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_FACTS, voice.model_dump_json(indent=2))
                archive.writestr(_AUDIO, audio)
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def read_voice(path: Path) -> Voice:
    """What the file says of its voice, without the audio. Raises BrokenVoiceFile."""
    try:
        with zipfile.ZipFile(path) as archive:
            facts, audio = archive.getinfo(_FACTS), archive.getinfo(_AUDIO)
            with archive.open(facts) as file:
                voice = Voice.model_validate_json(file.read(_MAX_FACTS_BYTES))
    except Exception as error:
        raise _broken(error) from error
    if audio.file_size != voice.size:
        raise BrokenVoiceFile(f"its audio has {audio.file_size} bytes, not {voice.size}")
    return voice


def read_audio(path: Path) -> bytes:
    """The audio as it was uploaded, its checksum verified. Raises BrokenVoiceFile."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(_AUDIO)
    except Exception as error:
        raise _broken(error) from error


def delete_voice(path: Path) -> None:
    """Delete, and return when it would stay so after a power cut. Raises OSError."""
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Clear away what a killed server was writing, and leave what a living one writes. Raises OSError."""
    for part in folder.glob(f"*{PART_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)


def _broken(error: Exception) -> BrokenVoiceFile:
    """What zipfile lets out is whatever its parts raise at damage: EOFError, zlib.error, RuntimeError and more."""
    return BrokenVoiceFile(" ".join(f"{type(error).__name__}: {error}".split()))


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """A rename or a deletion is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
