"""The stored voices: which there are, and their prompts, decoded when first needed and kept within bounds."""

import contextlib
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import structlog

from cosyserve.errors import (
    InvalidPrompt,
    NoHelper,
    ServiceError,
    StorageFailed,
    TooManyVoices,
    Unavailable,
    UnreadableVoice,
    UploadTooLarge,
    VoiceExists,
    VoiceNotFound,
    VoicesUnreachable,
)
from cosyserve.protocol import Prompt
from cosyserve.settings.sections import VoiceSettings
from cosyserve.voices.catalogue import Catalogue, Entry
from cosyserve.voices.containers import container_of
from cosyserve.voices.files import SUFFIX, BrokenVoiceFile, Voice
from cosyserve.voices.names import DEFAULT_VOICE, STOCK_VOICES, clean_name, file_stem, name_key
from cosyserve.voices.prompt_cache import PromptCache
from cosyserve.voices.prompts import Decoder, PromptLost, Reserve
from cosyserve.voices.shelf import ShelfLost, open_shelf

MAX_NOTE_CHARS = 1000
"""Of what is stored about a voice and used by nobody here: its description and consent."""
DECODING_THREADS = 4
LOOKING_THREADS = 4
RETRY_S = 1.0
"""How often a store is looked for that cannot be reached."""
NARROW = 64
"""Where fewer places are left than this, they are counted again when one was taken: other servers take some too."""

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
    """The voices of one shelf. Every method may block on it, and may be called from any thread.

    What other servers and people do to the shelf is seen by `rescan`.
    """

    def __init__(self, settings: VoiceSettings, decoder: Decoder) -> None:
        """Raises SettingsError where a package is missing that `voices.url` needs."""
        self._settings = settings
        self._decoder = decoder
        self._lock = threading.Lock()
        self._shelf = open_shelf(settings)
        self._catalogue = Catalogue(self._shelf)
        self._prompts = PromptCache[Prompt](settings.max_cached_bytes)

    async def in_thread(self, work: Callable[[*Args], Result], *args: *Args) -> Result:
        """Call a method that decodes, a few at a time: it may have to wait, and streams need threads as well."""
        return await anyio.to_thread.run_sync(work, *args, limiter=self._decoding)

    @cached_property
    def _decoding(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(DECODING_THREADS)

    @cached_property
    def _looking(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(LOOKING_THREADS)

    def load(self) -> None:
        """Find the voices that there are, and decode those of `voices.preload`. Not before the log is set up."""
        self._shelf.open()
        self.rescan()
        self._catalogue.recall()
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
        """See which voices have come to the shelf, have changed, or have gone."""
        with self._lock:
            self._catalogue.look()

    async def watch(self) -> None:
        """Do so every few seconds, until cancelled."""
        for turn in itertools.count(1):
            await anyio.sleep(RETRY_S if self._catalogue.lost else self._shelf.period_s)
            look = self.rescan if turn % self._shelf.thorough_every == 0 else self._look_for_news
            await anyio.to_thread.run_sync(look, abandon_on_cancel=True)

    async def look_for(self, name: str) -> None:
        """Do so now, if nobody is known by that name. Raises VoicesUnreachable where it cannot be told.

        OpenAI's names always mean somebody: whoever asks for one does not wait for a look.
        """
        key = name_key(name)
        if key in self._catalogue.entries or key in {"", DEFAULT_VOICE, *STOCK_VOICES}:
            return
        if not self._catalogue.lost:
            await anyio.to_thread.run_sync(self._look_for_news, name, limiter=self._looking)
        if key not in self._catalogue.entries:
            self._check_reach()

    def listing(self) -> list[Voice]:
        """All of them, by name."""
        return sorted((entry.voice for entry in self._catalogue.entries.values()), key=lambda voice: voice.name)

    def find(self, name: str) -> Voice | None:
        """The voice that answers to the name."""
        entry = self._catalogue.entries.get(name_key(name))
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
        self._check_reach()
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
        with self._lock:
            # Again: another upload may have been quicker, or another server.
            self._check_reach()
            self._catalogue.look()
            self._check_reach()
            self._check_room(name)
            self._keep(voice, upload.audio)
        self._prompts.put(voice.digest, prompt, prompt.samples.nbytes)
        return voice

    def delete(self, name: str) -> Voice:
        """Forget it; requests that speak with it already have what they need.

        Raises VoiceNotFound, StorageFailed, VoicesUnreachable.
        """
        with self._lock:
            self._check_reach()
            entry = self._entry(name)
            with self._refusals("deleted", entry):
                self._shelf.delete(entry.key)
            self._catalogue.drop(entry.key)
        return entry.voice

    def audio(self, name: str) -> tuple[Voice, bytes]:
        """The audio file as it was uploaded. Raises VoiceNotFound, UnreadableVoice, VoicesUnreachable."""
        while True:
            entry = self._entry(name)
            try:
                audio = self._shelf.read_audio(entry.key, entry.voice)
                if _digest(audio) == entry.voice.digest:
                    return entry.voice, audio
                reason = "the audio is not what was uploaded"
            except BrokenVoiceFile as error:
                reason = str(error)
            except ShelfLost as error:
                raise self._lost(error) from error
            # Deleted meanwhile, or deleted and uploaded anew? Then what is there now counts.
            self.rescan()
            if self._catalogue.entries.get(name_key(name)) == entry:
                self._check_reach()
                raise self._unreadable(entry, reason)

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
            raise self._unreadable(self._entry(name), error.message) from error
        self._prompts.put(voice.digest, prompt, prompt.samples.nbytes)
        return voice, prompt

    def cached_prompt(self, name: str) -> tuple[Voice, Prompt] | None:
        """The same where nothing has to be read; never blocks. Raises VoiceNotFound."""
        voice = self._entry(name).voice
        prompt = self._prompts.get(voice.digest)
        return None if prompt is None else (voice, prompt)

    def _entry(self, name: str) -> Entry:
        try:
            return self._catalogue.entries[name_key(name)]
        except KeyError:
            raise _not_found(name) from None

    def _check_room(self, name: str) -> None:
        taken = self.find(name)
        if taken is not None:
            alike = "" if taken.name == name else f", which {name!r} is too easily taken for"
            raise VoiceExists(f"there is a voice {taken.name!r} already{alike}: delete it first", param="name")
        count = len(self._catalogue.entries)
        if count >= self._settings.max_count:
            raise self._too_many(count)

    def _keep(self, voice: Voice, audio: bytes) -> None:
        """Store it where nobody else has its name, and the limit leaves room for it and for what others store now."""
        entry = Entry(voice, f"{file_stem(voice.name)}{SUFFIX}")
        try:
            with self._refusals("stored", entry):
                stamp = self._shelf.create(entry.key, voice, audio)
        except FileExistsError as error:
            raise self._taken(entry) from error
        self._catalogue.put(entry.key, voice, stamp)
        if len(self._catalogue.entries) > self._settings.max_count - NARROW:
            self._count_again(entry)

    def _taken(self, entry: Entry) -> ServiceError:
        """Another server was quicker, or what is no voice has the key."""
        name = entry.voice.name
        self._catalogue.look()
        if self._catalogue.is_broken(entry.key):
            log.error("what is no voice is in a voice's place", voice=name, file=self._shown(entry))
            return StorageFailed("a damaged file is in the voice's place: the server's log has its name")
        return VoiceExists(f"there is a voice {name!r} already: another server was quicker", param="name")

    def _count_again(self, entry: Entry) -> None:
        """Servers that store at one time do not see each other before: whoever finds too many takes its own back."""
        self._catalogue.look()
        count = len(self._catalogue.entries)
        if count <= self._settings.max_count:
            return
        with self._refusals("deleted", entry):
            self._shelf.delete(entry.key)
        self._catalogue.drop(entry.key)
        raise self._too_many(count - 1)

    def _check_reach(self) -> None:
        """Raises VoicesUnreachable, where that is known: nobody waits for what the last one has waited for in vain."""
        if self._catalogue.lost:
            raise VoicesUnreachable("the store of the voices cannot be reached: try again shortly")

    def _lost(self, error: ShelfLost) -> VoicesUnreachable:
        self._catalogue.lose(str(error))
        return VoicesUnreachable("the store of the voices cannot be reached: try again shortly")

    @contextlib.contextmanager
    def _refusals(self, done: str, entry: Entry) -> Iterator[None]:
        """What the shelf says, in words for the client."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            # Its reason is enough: no fault of ours has a trace to show.
            what = f"a voice could not be {done}"
            log.error(what, voice=entry.voice.name, file=self._shown(entry), reason=str(error))  # noqa: TRY400
            raise StorageFailed(f"the voice could not be {done}: {error.strerror or 'see the log'}") from error
        except ShelfLost as error:
            raise self._lost(error) from error

    def _unreadable(self, entry: Entry, reason: str) -> UnreadableVoice:
        name = entry.voice.name
        log.error("a stored voice cannot be read", voice=name, file=self._shown(entry), reason=reason)
        return UnreadableVoice(f"the stored voice {name!r} cannot be read: delete it and upload it again")

    def _shown(self, entry: Entry) -> str:
        return f"{self._shelf.place}/{entry.key}"

    def _too_many(self, count: int) -> TooManyVoices:
        return TooManyVoices(f"there are {count} voices already (voices.max_count): delete one first")

    def _look_for_news(self, name: str = "") -> None:
        with self._lock:
            self._catalogue.look_for(f"{file_stem(name)}{SUFFIX}")

    def _preload(self, name: str) -> None:
        try:
            self.prompt(name)
        except (VoiceNotFound, UnreadableVoice, Unavailable) as error:
            log.warning("a voice of voices.preload is not there", voice=name, reason=error.message)


def _digest(audio: bytes) -> str:
    return hashlib.blake2b(audio, digest_size=16).hexdigest()


def _not_found(name: str) -> VoiceNotFound:
    return VoiceNotFound(f"there is no voice named {name[:64]!r}")
