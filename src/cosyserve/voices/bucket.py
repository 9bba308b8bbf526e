"""A bucket of an S3 service as a shelf, through fsspec. What is read of it is copied to this machine.

fsspec and s3fs are imported when there is a bucket, and their requests run on a thread of theirs.
"""

import io
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cosyserve.check.remedies import install
from cosyserve.settings.sections import SettingsError
from cosyserve.voices.copies import Copies
from cosyserve.voices.files import SUFFIX, BrokenVoiceFile, Voice, packed, read_audio, read_voice
from cosyserve.voices.shelf import ShelfLost, Stamp

CONNECT_S, READ_S, ATTEMPTS = 2.0, 10.0, 2
PATIENCE_S = 20.0
"""For all that one call does, whatever the requests' own bounds come to."""
CONFLICTS = 3
"""How often a service may answer 409, which says that another upload of the key is under way."""
HEAD_BYTES, TAIL_BYTES = 16_384, 1_024
"""What of an archive tells of its voice: the facts before the audio, and the table of contents behind it."""
READS_AT_ONCE = 32
MARK = "upload"
"""The field of an object's metadata that tells one upload from another of the same recording."""


class Bucket:
    """The objects right below a prefix. url: `s3://bucket/prefix`. An object's stamp: its ETag and size."""

    period_s = 5.0
    thorough_every = 1

    def __init__(self, url: str, copies: Path) -> None:
        """copies: a folder on this machine. Raises SettingsError where a package is missing. Asks nobody yet."""
        self.place = url
        self._root = url.removeprefix("s3://").rstrip("/")
        self._copies = Copies(copies)
        self._files = _files(url)

    def open(self) -> None:
        """Clear away what killed servers have left."""
        self._copies.open()

    def stamps(self) -> Mapping[str, Stamp]:
        """What there is, by the objects' names. Raises ShelfLost."""
        try:
            listed = self._call(self._files._lsdir, self._root, refresh=True)
        except OSError as error:
            raise ShelfLost(_reason(error)) from error
        return {
            name: (file["ETag"], file["size"])
            for file in listed
            if file["type"] == "file" and (name := file["name"].rpartition("/")[2]).endswith(SUFFIX)
        }

    def has_news(self, key: str, _: Mapping[str, Stamp]) -> bool:
        """Whether there is an object of that key. Raises ShelfLost."""
        try:
            self._head(key)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ShelfLost(_reason(error)) from error
        return True

    def read_facts(self, stamps: Mapping[str, Stamp]) -> Mapping[str, Voice | BrokenVoiceFile]:
        """The ends of archives, many at once; without those that have gone meanwhile."""
        sizes = {key: size for key, (_, size) in stamps.items() if isinstance(size, int)}
        heads = self._ranges({key: (0, min(HEAD_BYTES, size)) for key, size in sizes.items()})
        tails = self._ranges({key: (max(size - TAIL_BYTES, 0), size) for key, size in sizes.items() if key in heads})
        return {key: self._facts(key, sizes[key], heads[key], tail) for key, tail in tails.items()}

    def read_audio(self, key: str, voice: Voice) -> bytes:
        """Of the copy, where there is one. Raises BrokenVoiceFile, ShelfLost."""
        audio = self._copies.audio_of(voice)
        if audio is None:
            archive = self._read(key)
            audio = read_audio(io.BytesIO(archive))
            if read_voice(io.BytesIO(archive)) == voice:
                self._copies.keep(voice, archive)
        return audio

    def create(self, key: str, voice: Voice, audio: bytes) -> Stamp:
        """Raises FileExistsError, OSError, ShelfLost."""
        archive = packed(voice, audio)
        tag = self._put_new(key, archive)
        self._copies.keep(voice, archive)
        return tag, len(archive)

    def delete(self, key: str) -> None:
        """Raises OSError, ShelfLost."""
        with suppress(FileNotFoundError):
            self._call(self._files._rm_file, self._path(key))

    def settle(self, voices: Collection[Voice]) -> None:
        """Copies of other voices go."""
        self._copies.drop_others(voices)

    def remembered(self) -> list[Voice]:
        """Those that there are copies of."""
        return self._copies.voices()

    def trial(self) -> str:
        """Why voices cannot be stored here, "" where they can: tried with an object that is deleted again."""
        key = f"trial-{secrets.token_hex(8)}"
        try:
            self.stamps()
            self._put_new(key, b"1")
            try:
                self._put_new(key, b"2")
            except FileExistsError:
                return ""
            finally:
                self.delete(key)
            return "it stores an object twice though it was told not to (If-None-Match)"
        except (OSError, ShelfLost) as error:
            return _reason(error)

    def _put_new(self, key: str, content: bytes) -> str:
        """Its ETag. Raises FileExistsError where another upload has the key, OSError, ShelfLost."""
        mark = secrets.token_hex(16)
        for last in (*(False,) * (CONFLICTS - 1), True):
            try:
                return self._put(key, content, mark)
            except FileExistsError:
                # The answer to a first try may have got lost, and the library tries again by itself.
                if tag := self._tag_of_mine(key, mark):
                    return tag
                raise
            except OSError as error:
                if last or _status(error) != HTTPStatus.CONFLICT:
                    raise
        raise AssertionError

    def _put(self, key: str, content: bytes, mark: str) -> str:
        put = self._files._pipe_file
        return str(self._call(put, self._path(key), content, mode="create", Metadata={MARK: mark})["ETag"])

    def _tag_of_mine(self, key: str, mark: str) -> str:
        """The ETag of an object with this mark; "" where it is another's, or has gone."""
        with suppress(FileNotFoundError):
            head = self._head(key)
            return str(head["ETag"]) if head["Metadata"].get(MARK) == mark else ""
        return ""

    def _head(self, key: str) -> dict[str, Any]:
        """Raises FileNotFoundError, OSError, ShelfLost."""
        bucket, _, path = self._path(key).partition("/")
        head: dict[str, Any] = self._call(self._files._call_s3, "head_object", Bucket=bucket, Key=path)
        return head

    def _read(self, key: str) -> bytes:
        """An archive. Raises BrokenVoiceFile where it is not given, ShelfLost."""
        try:
            content: bytes = self._call(self._files._cat_file, self._path(key))
        except OSError as error:
            raise BrokenVoiceFile(_reason(error)) from error
        return content

    def _facts(self, key: str, size: int, head: bytes, tail: bytes) -> Voice | BrokenVoiceFile:
        gap = size - len(head) - len(tail)
        ends = head + bytes(gap) + tail if gap >= 0 else head + tail[-gap:]
        try:
            return read_voice(io.BytesIO(ends))
        except BrokenVoiceFile:
            # Somebody else's archive may have its parts elsewhere.
            try:
                return read_voice(io.BytesIO(self._read(key)))
            except BrokenVoiceFile as error:
                return error

    def _ranges(self, ranges: Mapping[str, tuple[int, int]]) -> dict[str, bytes]:
        """Parts of objects, by key, without those that have gone; b"" where one is refused. Raises ShelfLost."""
        paths = [self._path(key) for key in ranges]
        starts, ends = ([span[end] for span in ranges.values()] for end in (0, 1))
        read = self._call(self._files._cat_ranges, paths, starts, ends, batch_size=READS_AT_ONCE)
        found = {key: part for key, part in zip(ranges, read, strict=True) if not isinstance(part, FileNotFoundError)}
        return {key: self._given(part) for key, part in found.items()}

    def _given(self, part: bytes | BaseException) -> bytes:
        if isinstance(part, bytes):
            return part
        if _is_refusal(part):
            return b""
        raise ShelfLost(_reason(part)) from part

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _call(self, work: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """Raises OSError where the service refuses, ShelfLost where there is none to be asked."""
        from fsspec.asyn import sync

        try:
            return sync(self._files.loop, work, *args, timeout=PATIENCE_S, **options)
        except Exception as error:
            if _is_refusal(error):
                raise
            raise ShelfLost(_reason(error)) from error


def _files(url: str) -> Any:
    """The file system of s3fs; credentials, region and endpoint are those of AWS's own tools."""
    try:
        import fsspec
        import s3fs  # noqa: F401 - else fsspec would say in its own words that it is missing
    except ImportError as error:
        raise SettingsError(f"voices.url = {url} needs the package {error.name}; {install('s3')}") from error
    retries = {"max_attempts": ATTEMPTS, "mode": "standard"}
    config = {"connect_timeout": CONNECT_S, "read_timeout": READ_S, "retries": retries}
    files = fsspec.filesystem("s3", config_kwargs=config, use_listings_cache=False)
    files.retries = ATTEMPTS
    return files


def _is_refusal(error: BaseException) -> bool:
    """Whether the service has answered, and will not."""
    return isinstance(error, OSError) and 400 <= _status(error) < 500


def _status(error: BaseException) -> int:
    """The HTTP status behind an error, 0 where nobody answered."""
    response = getattr(error.__cause__, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_S:g} s"
    return " ".join(str(error).split()) or type(error).__name__
