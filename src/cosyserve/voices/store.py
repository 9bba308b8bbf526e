"""The stored voices: which there are, and their prompts, decoded when first needed and kept within bounds."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import structlog

from cosyserve.errors import (
    InvalidPrompt,
    NoHelper,
    StorageFailed,
    TooManyVoices,
    Unavailable,
    UnreadableVoice,
    UploadTooLarge,
    VoiceExists,
    VoiceNotFound,
)
from cosyserve.protocol import Prompt
from cosyserve.settings.sections import VoiceSettings
from cosyserve.voices.containers import container_of
from cosyserve.voices.files import (
    SUFFIX,
    BrokenVoiceFile,
    Voice,
    delete_voice,
    read_audio,
    remove_parts,
    write_voice,
)
from cosyserve.voices.folder import Entry, VoiceFolder
from cosyserve.voices.names import DEFAULT_VOICE, clean_name, file_stem, name_key
from cosyserve.voices.prompts import Decoder, PromptLost, Reserve

MAX_NOTE_CHARS = 1000
"""Of what is stored about a voice and used by nobody here: its description and consent."""
DECODING_THREADS = 4
RESCAN_S = 2.0
"""How often the folder is looked at."""

Result = TypeVar("Result")
Args = TypeVarTuple("Args")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Upload:
    """A voice as a client sends it. audio: a sound file. param: what the client called that field."""

    name: str
    audio: bytes
    prompt_text: str = ""
    instruction: str = ""
    description: str = ""
    consent: str = ""
    param: str = "audio_sample"


class VoiceStore:
    """One folder of voice files. Every method may block on the disk, and may be called from any thread.

    What others do to the folder is seen by `rescan`.
    """

    def __init__(self, settings: VoiceSettings, decoder: Decoder) -> None:
        self._settings = settings
        self._decoder = decoder
        self._lock = threading.Lock()
        self._folder = VoiceFolder(settings.dir)
        self._prompts = PromptCache(settings.max_cached_bytes)

    async def in_thread(self, work: Callable[[*Args], Result], *args: *Args) -> Result:
        """Call a method that decodes, a few at a time: it may have to wait, and streams need threads as well."""
        return await anyio.to_thread.run_sync(work, *args, limiter=self._decoding)

    @cached_property
    def _decoding(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(DECODING_THREADS)

    def load(self) -> None:
        """Find the voices that the folder has, and decode those of `voices.preload`. Not before the log is set up."""
        try:
            remove_parts(self._settings.dir)
        except OSError as error:
            log.warning("remains of unfinished uploads could not be removed", reason=str(error))
        self.rescan()
        self.preload(self._settings.preload)

    def preload(self, names: Iterable[str]) -> None:
        """Decode them, where they are not yet."""
        for name in names:
            self._preload(name)

    def adjust(self, settings: VoiceSettings) -> None:
        """Go by these limits from now on; the folder stays the one it is. Never blocks."""
        self._settings = settings
        self._prompts.set_limit(settings.max_cached_bytes)

    def rescan(self) -> None:
        """See which files have come to the folder, have changed, or have gone."""
        with self._lock:
            self._folder.look()

    async def watch(self) -> None:
        """Do so every few seconds, until cancelled."""
        while True:
            await anyio.sleep(RESCAN_S)
            await anyio.to_thread.run_sync(self.rescan, abandon_on_cancel=True)

    async def look_for(self, name: str) -> None:
        """Do so now, if nobody is known by that name."""
        key = name_key(name)
        if key not in self._folder.entries and key not in {"", DEFAULT_VOICE}:
            await anyio.to_thread.run_sync(self._look_for_news)

    def listing(self) -> list[Voice]:
        """All of them, by name."""
        return sorted((entry.voice for entry in self._folder.entries.values()), key=lambda voice: voice.name)

    def find(self, name: str) -> Voice | None:
        """The voice that answers to the name."""
        entry = self._folder.entries.get(name_key(name))
        return None if entry is None else entry.voice

    def add(self, upload: Upload, reserve: Reserve | None = None) -> Voice:
        """Check and store. On return it is on the disk. Raises RequestRejected, Unavailable, StorageFailed.

        reserve: as for `Decoder`, called in this thread.
        """
        name = clean_name(upload.name)
        size, most = len(upload.audio), self._settings.max_bytes
        if size > most:
            raise UploadTooLarge(
                f"{upload.param} has {size} bytes: the limit is {most} (voices.max_bytes)", param=upload.param
            )
        self._check_room(name)
        prompt = self._decoder.decode_in_thread(upload.audio, upload.param, reserve)
        voice = Voice(
            name=name,
            created_at=int(time.time()),
            digest=_digest(upload.audio),
            media_type=container_of(upload.audio).media_type,
            size=len(upload.audio),
            sample_rate=prompt.sample_rate,
            duration_s=round(prompt.duration_s, 3),
            prompt_text=upload.prompt_text,
            instruction=upload.instruction,
            description=upload.description,
            consent=upload.consent,
        )
        path = self._settings.dir / f"{file_stem(name)}{SUFFIX}"
        with self._lock:
            # Again: another upload may have been quicker, or another server.
            self._folder.look()
            self._check_room(name)
            try:
                write_voice(path, voice, upload.audio)
            except OSError as error:
                _log_refusal("a voice could not be stored", name, path, error)
                raise StorageFailed(f"the voice could not be stored: {error.strerror or 'see the log'}") from error
            self._folder.put(path, voice)
        self._prompts.put(voice.digest, prompt)
        return voice

    def delete(self, name: str) -> Voice:
        """Forget it; requests that speak with it already have what they need. Raises VoiceNotFound, StorageFailed."""
        with self._lock:
            entry = self._entry(name)
            try:
                delete_voice(entry.path)
            except OSError as error:
                _log_refusal("a voice could not be deleted", entry.voice.name, entry.path, error)
                raise StorageFailed(f"the voice could not be deleted: {error.strerror or 'see the log'}") from error
            self._folder.drop(entry.path)
        return entry.voice

    def audio(self, name: str) -> tuple[Voice, bytes]:
        """The audio file as it was uploaded. Raises VoiceNotFound, UnreadableVoice."""
        while True:
            entry = self._entry(name)
            try:
                audio = read_audio(entry.path)
                if _digest(audio) == entry.voice.digest:
                    return entry.voice, audio
                reason = "the audio is not what was uploaded"
            except BrokenVoiceFile as error:
                reason = str(error)
            # Deleted meanwhile, or deleted and uploaded anew? Then what is there now counts.
            self.rescan()
            if self._folder.entries.get(name_key(name)) == entry:
                raise _unreadable(entry, reason)

    def prompt(self, name: str) -> tuple[Voice, Prompt]:
        """The voice and its prompt. Raises VoiceNotFound, UnreadableVoice, Unavailable."""
        cached = self.cached_prompt(name)
        if cached is not None:
            return cached
        voice, audio = self.audio(name)
        try:
            prompt = self._decoder.decode_in_thread(audio)
        except PromptLost as error:
            # It was decoded when it came: something has happened to the helper, not to the voice.
            raise NoHelper(f"the stored voice {voice.name!r}: {error.message}") from error
        except InvalidPrompt as error:
            raise _unreadable(self._entry(name), error.message) from error
        self._prompts.put(voice.digest, prompt)
        return voice, prompt

    def cached_prompt(self, name: str) -> tuple[Voice, Prompt] | None:
        """The same where nothing has to be read; never blocks. Raises VoiceNotFound."""
        voice = self._entry(name).voice
        prompt = self._prompts.get(voice.digest)
        return None if prompt is None else (voice, prompt)

    def _entry(self, name: str) -> Entry:
        try:
            return self._folder.entries[name_key(name)]
        except KeyError:
            raise _not_found(name) from None

    def _check_room(self, name: str) -> None:
        taken = self.find(name)
        if taken is not None:
            alike = "" if taken.name == name else f", which {name!r} is too easily taken for"
            raise VoiceExists(f"there is a voice {taken.name!r} already{alike}: delete it first", param="name")
        count = len(self._folder.entries)
        if count >= self._settings.max_count:
            raise TooManyVoices(f"there are {count} voices already (voices.max_count): delete one first")

    def _look_for_news(self) -> None:
        with self._lock:
            if self._folder.has_news():
                self._folder.look()

    def _preload(self, name: str) -> None:
        try:
            self.prompt(name)
        except (VoiceNotFound, UnreadableVoice, Unavailable) as error:
            log.warning("a voice of voices.preload is not there", voice=name, reason=error.message)


class PromptCache:
    """Decoded prompts by the hash of their files, the ones used longest ago dropped first. Safe in threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._prompts: OrderedDict[str, Prompt] = OrderedDict()
        self._held_bytes = 0

    def set_limit(self, limit_bytes: int) -> None:
        """So much from the next prompt on."""
        self._limit_bytes = limit_bytes

    @property
    def held_bytes(self) -> int:
        """What the samples take."""
        return self._held_bytes

    def get(self, digest: str) -> Prompt | None:
        """The prompt, where it is held."""
        with self._lock:
            if digest in self._prompts:
                self._prompts.move_to_end(digest)
            return self._prompts.get(digest)

    def put(self, digest: str, prompt: Prompt) -> None:
        """Hold it, and drop others for it."""
        with self._lock:
            if digest in self._prompts:
                return
            self._prompts[digest] = prompt
            self._held_bytes += prompt.samples.nbytes
            while self._held_bytes > self._limit_bytes:
                _, dropped = self._prompts.popitem(last=False)
                self._held_bytes -= dropped.samples.nbytes


def _digest(audio: bytes) -> str:
    return hashlib.blake2b(audio, digest_size=16).hexdigest()


def _log_refusal(event: str, name: str, path: Path, error: OSError) -> None:
    """The disk's, for which its reason is enough: no fault of ours has a trace to show."""
    log.error(event, voice=name, path=str(path), reason=str(error))


def _unreadable(entry: Entry, reason: str) -> UnreadableVoice:
    name = entry.voice.name
    log.error("a stored voice cannot be read", voice=name, path=str(entry.path), reason=reason)
    return UnreadableVoice(f"the stored voice {name!r} cannot be read: delete it and upload it again")


def _not_found(name: str) -> VoiceNotFound:
    return VoiceNotFound(f"there is no voice named {name[:64]!r}")
