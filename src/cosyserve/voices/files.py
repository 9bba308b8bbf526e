"""One voice, one file: a ZIP archive of the audio as it was uploaded and of what is known about it.

A file appears under its name whole or not at all: it is written under another name, brought to the disk, and linked to
its own, which fails where there is one of that name already, whichever machine made it.
"""

import contextlib
import errno
import fcntl
import io
import os
import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict

SUFFIX = ".voice"
PART_SUFFIX = ".part"
_FACTS = "voice.json"
_AUDIO = "audio"
_MAX_FACTS_BYTES = 1 << 20
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a file system says that makes no hard links."""


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


def packed(voice: Voice, audio: bytes) -> bytes:
    """A voice's archive. What is known stands before the audio, so that its beginning and its end tell all of it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_FACTS, voice.model_dump_json(indent=2))
        archive.writestr(_AUDIO, audio)
    return content.getvalue()


def read_voice(source: Path | IO[bytes]) -> Voice:
    """What an archive says of its voice, without the audio. Raises BrokenVoiceFile."""
    try:
        with zipfile.ZipFile(source) as archive:
            facts, audio = archive.getinfo(_FACTS), archive.getinfo(_AUDIO)
            with archive.open(facts) as file:
                voice = Voice.model_validate_json(file.read(_MAX_FACTS_BYTES))
    except Exception as error:
        raise _broken(error) from error
    if audio.file_size != voice.size:
        raise BrokenVoiceFile(f"its audio has {audio.file_size} bytes, not {voice.size}")
    return voice


def read_audio(source: Path | IO[bytes]) -> bytes:
    """The audio as it was uploaded, its checksum verified. Raises BrokenVoiceFile."""
    try:
        with zipfile.ZipFile(source) as archive:
            return archive.read(_AUDIO)
    except Exception as error:
        raise _broken(error) from error


def write_new(path: Path, content: bytes) -> None:
    """Write, and return when it would survive a power cut. Raises FileExistsError where the name is taken, OSError."""
    _make_folder(path.parent)
    with _part(path, content) as part:
        _link(part, path)
    _sync_folder(path.parent)


def write_over(path: Path, content: bytes) -> None:
    """Write in the place of what has the name. Raises OSError."""
    _make_folder(path.parent)
    with _part(path, content) as part:
        part.replace(path)


def delete_file(path: Path) -> None:
    """Delete, and return when it would stay so after a power cut. Raises OSError."""
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Clear away what a killed server was writing, and leave what a living one writes. Raises OSError."""
    for part in folder.glob(f"*{PART_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)


def makes_links(folder: Path) -> bool:
    """Whether its file system makes hard links. Raises OSError where nothing can be written."""
    with _part(folder / "trial", b"") as part:
        link = part.with_name(f"{part.stem}-link{PART_SUFFIX}")
        try:
            os.link(part, link)
        except OSError as error:
            return error.errno not in _NO_LINKS
        link.unlink()
    return True


@contextlib.contextmanager
def _part(path: Path, content: bytes) -> Iterator[Path]:
    """A file beside `path` with this content, on the disk, until the end of the block."""
    part = path.with_name(f"{path.stem}-{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        with part.open("xb") as file:
            # For as long as it is held, no other server takes the file for a dead one's.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            yield part
    finally:
        part.unlink(missing_ok=True)


def _link(part: Path, path: Path) -> None:
    try:
        os.link(part, path)
    except FileExistsError:
        # Of a link over NFS the answer may get lost: the second try finds the first one's.
        if part.stat().st_nlink < 2:
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_new(part, path)


def _rename_new(part: Path, path: Path) -> None:
    """Where there are no links: safe among the threads of one server."""
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    part.rename(path)


def _broken(error: Exception) -> BrokenVoiceFile:
    """What zipfile lets out is whatever its parts raise at damage: EOFError, zlib.error, RuntimeError and more."""
    return BrokenVoiceFile(" ".join(f"{type(error).__name__}: {error}".split()))


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """A link or a deletion is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
