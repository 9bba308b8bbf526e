"""The store: what it takes, what it keeps, and what it says when it cannot."""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from cosyserve.errors import (
    InvalidPrompt,
    InvalidVoiceName,
    StorageFailed,
    TooManyVoices,
    UnreadableVoice,
    UploadTooLarge,
    VoiceExists,
    VoiceNotFound,
)
from cosyserve.protocol import Prompt
from cosyserve.settings.sections import VoiceSettings
from cosyserve.voices.files import SUFFIX, packed, write_new
from cosyserve.voices.prompt_cache import PromptCache
from cosyserve.voices.prompts import Decoder
from cosyserve.voices.store import Upload, VoiceStore
from tests import sounds

AUDIO = sounds.prompt()
OTHER = sounds.prompt(hertz=550)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "voices"


class Store(Protocol):
    def __call__(self, folder: Path, **settings: Any) -> VoiceStore: ...


@pytest.fixture
def store(decoder: Decoder) -> Store:
    """Makes stores."""

    def make(folder: Path, **settings: Any) -> VoiceStore:
        voices = VoiceStore(VoiceSettings(dir=folder, **settings), decoder)
        voices.load()
        return voices

    return make


def files(folder: Path) -> list[Path]:
    return list(folder.glob(f"*{SUFFIX}"))


class TestKeeping:
    def test_nothing_is_written_before_there_is_a_voice(self, store: Store, folder: Path) -> None:
        assert store(folder).listing() == []
        assert not folder.exists()

    def test_survives_a_restart(self, store: Store, folder: Path) -> None:
        upload = Upload("Bob", AUDIO, "希望你以后", "慢", "warm", "consent-7")
        voice = store(folder).add(upload)
        again = store(folder)
        assert again.listing() == [voice]
        assert again.audio("bob") == (voice, AUDIO)
        assert (voice.name, voice.prompt_text, voice.instruction) == ("Bob", "希望你以后", "慢")
        assert (voice.description, voice.consent, voice.media_type) == ("warm", "consent-7", "audio/wav")
        assert (voice.size, voice.sample_rate, voice.duration_s) == (len(AUDIO), 16_000, 2.0)

    def test_the_prompt_is_what_was_sent(self, store: Store, folder: Path) -> None:
        first = store(folder)
        first.add(Upload("bob", AUDIO))
        _, kept = first.prompt("bob")
        voice, read = store(folder).prompt("BOB")
        assert (voice.name, read.digest, read.sample_rate) == ("bob", kept.digest, 16_000)
        assert np.array_equal(read.samples, kept.samples)

    def test_listed_by_name(self, store: Store, folder: Path) -> None:
        voices = store(folder)
        for name in ("carol", "alice", "bob"):
            voices.add(Upload(name, AUDIO))
        assert [voice.name for voice in voices.listing()] == ["alice", "bob", "carol"]

    @pytest.mark.parametrize(
        ("kind", "media_type"),
        [("WAV", "audio/wav"), ("FLAC", "audio/flac"), ("OGG", "audio/ogg"), ("MP3", "audio/mpeg")],
    )
    def test_media_types(self, store: Store, folder: Path, kind: str, media_type: str) -> None:
        audio = sounds.encode(sounds.sine(2, 24_000), 24_000, kind)
        assert store(folder).add(Upload("bob", audio)).media_type == media_type


class TestRefusing:
    @pytest.mark.parametrize(
        ("upload", "error", "param"),
        [
            (Upload("../bob", AUDIO), InvalidVoiceName, "name"),
            (Upload("default", AUDIO), InvalidVoiceName, "name"),
            (Upload("bob", b"junk"), InvalidPrompt, "audio_sample"),
            (Upload("bob", sounds.prompt(0.5), param="prompt_wav"), InvalidPrompt, "prompt_wav"),
            (Upload("bob", AUDIO + bytes(100_000)), UploadTooLarge, "audio_sample"),
        ],
    )
    def test_an_upload(self, store: Store, folder: Path, upload: Upload, error: type[Exception], param: str) -> None:
        voices = store(folder, max_bytes=100_000)
        with pytest.raises(error) as refused:
            voices.add(upload)
        assert getattr(refused.value, "param", None) == param
        assert voices.listing() == []
        assert not folder.exists()

    @pytest.mark.parametrize("name", ["bob", "BOB", "ｂｏｂ"])
    def test_a_name_that_is_taken(self, store: Store, folder: Path, name: str) -> None:
        voices = store(folder)
        voices.add(Upload("bob", AUDIO))
        with pytest.raises(VoiceExists, match="'bob'"):
            voices.add(Upload(name, OTHER))
        assert voices.audio("bob")[1] == AUDIO
        assert len(files(folder)) == 1

    def test_too_many(self, store: Store, folder: Path) -> None:
        voices = store(folder, max_count=1)
        voices.add(Upload("bob", AUDIO))
        with pytest.raises(TooManyVoices):
            voices.add(Upload("alice", AUDIO))
        voices.delete("bob")
        voices.add(Upload("alice", AUDIO))

    def test_of_many_at_once_one_gets_the_name(self, store: Store, folder: Path) -> None:
        voices, start = store(folder), threading.Barrier(8)

        def add(number: int) -> str:
            start.wait()
            try:
                return voices.add(Upload("bob", AUDIO, str(number))).prompt_text
            except VoiceExists:
                return ""

        with ThreadPoolExecutor(8) as threads:
            (winner,) = filter(None, threads.map(add, range(8)))
        assert [voice.prompt_text for voice in voices.listing()] == [winner]
        assert [voice.prompt_text for voice in store(folder).listing()] == [winner]

    def test_of_many_at_once_no_more_than_there_is_room_for(self, store: Store, folder: Path) -> None:
        voices, start = store(folder, max_count=3), threading.Barrier(8)

        def add(number: int) -> int:
            start.wait()
            try:
                voices.add(Upload(f"voice{number}", AUDIO))
            except TooManyVoices:
                return 0
            return 1

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(add, range(8))) == 3
        assert len(files(folder)) == 3

    @pytest.mark.parametrize("name", ["nobody", "", "../bob", "\x00", "\ud800", "x" * 10_000])
    def test_a_name_that_nobody_has(self, store: Store, folder: Path, name: str) -> None:
        voices = store(folder)
        voices.add(Upload("bob", AUDIO))
        assert voices.find(name) is None
        for ask in (voices.audio, voices.prompt, voices.cached_prompt, voices.delete):
            with pytest.raises(VoiceNotFound) as refused:
                ask(name)
            assert len(str(refused.value)) < 500

    def test_a_folder_that_cannot_be_made(self, store: Store, folder: Path) -> None:
        folder.write_text("a file is in the way")
        voices = store(folder)
        with pytest.raises(StorageFailed):
            voices.add(Upload("bob", AUDIO))
        assert voices.listing() == []


class TestDeleting:
    def test_is_for_good(self, store: Store, folder: Path) -> None:
        voices = store(folder)
        voices.add(Upload("bob", AUDIO))
        assert voices.delete("BOB").name == "bob"
        assert voices.listing() == store(folder).listing() == []
        assert files(folder) == []

    def test_a_name_can_be_used_again_and_means_the_new_voice(self, store: Store, folder: Path) -> None:
        voices = store(folder)
        voices.add(Upload("bob", AUDIO))
        _, old = voices.prompt("bob")
        voices.delete("bob")
        voices.add(Upload("bob", OTHER))
        assert voices.prompt("bob")[1].digest != old.digest
        assert voices.audio("bob")[1] == OTHER


class TestDamage:
    def test_broken_files_are_left_out_and_left_alone(self, store: Store, folder: Path) -> None:
        first = store(folder)
        for name in ("alice", "bob"):
            first.add(Upload(name, AUDIO))
        (folder / "junk.voice").write_bytes(b"junk")
        (folder / "notes.txt").write_text("mine")
        (folder / "left-over.part").write_bytes(b"half")
        truncated = max(files(folder), key=lambda path: path.stat().st_size)
        truncated.write_bytes(truncated.read_bytes()[:1000])
        assert len(store(folder).listing()) == 1
        assert sorted(path.name for path in folder.iterdir() if path.suffix != SUFFIX) == ["notes.txt"]
        assert len(files(folder)) == 3

    def test_a_file_that_breaks_later(self, store: Store, folder: Path) -> None:
        store(folder).add(Upload("bob", AUDIO))
        voices = store(folder)
        files(folder)[0].write_bytes(b"junk")
        for ask in (voices.audio, voices.prompt):
            with pytest.raises(UnreadableVoice, match="upload it again"):
                ask("bob")
        voices.delete("bob")
        voices.add(Upload("bob", AUDIO))

    def test_files_may_be_copied_under_any_name(self, store: Store, folder: Path, tmp_path: Path) -> None:
        store(folder).add(Upload("bob", AUDIO))
        other = tmp_path / "other"
        other.mkdir()
        shutil.copy(files(folder)[0], other / "a copy.voice")
        voices = store(other)
        assert voices.audio("bob")[1] == AUDIO
        voices.delete("bob")
        assert files(other) == []

    @pytest.mark.parametrize("name", ["default", "../bob", ""])
    def test_a_file_whose_voice_has_no_proper_name(self, store: Store, folder: Path, name: str) -> None:
        voice = store(folder).add(Upload("bob", AUDIO))
        write_new(folder / "other.voice", packed(voice.model_copy(update={"name": name}), AUDIO))
        assert store(folder).listing() == [voice]

    def test_of_two_files_with_one_name_the_first_counts(self, store: Store, folder: Path) -> None:
        store(folder).add(Upload("bob", AUDIO))
        shutil.copy(files(folder)[0], folder / "zz.voice")
        assert len(store(folder).listing()) == 1


class TestMemory:
    def test_preloaded(self, store: Store, folder: Path) -> None:
        store(folder).add(Upload("bob", AUDIO))
        assert store(folder).cached_prompt("bob") is None
        assert store(folder, preload=("Bob", "nobody")).cached_prompt("bob") is not None

    def test_the_cache_is_bounded_and_keeps_what_is_used(self) -> None:
        cache = PromptCache[Prompt](8_000)
        for number in range(5):
            cache.put(str(number), Prompt(np.zeros(1_000, np.float32), 16_000, ""), 4_000)
            assert cache.held_bytes <= 8_000
            cache.get("0")
        assert cache.get("0") is not None
        assert [str(number) for number in range(5) if cache.get(str(number))] == ["0", "4"]

    def test_one_that_is_larger_than_the_cache(self) -> None:
        cache = PromptCache[Prompt](1)
        cache.put("a", Prompt(np.zeros(1_000, np.float32), 16_000, ""), 4_000)
        assert (cache.get("a"), cache.held_bytes) == (None, 0)

    def test_a_store_without_a_cache_works(self, store: Store, folder: Path) -> None:
        voices = store(folder, max_cached_bytes=0)
        voices.add(Upload("bob", AUDIO))
        assert voices.prompt("bob")[1].sample_rate == 16_000


class TestOthersHands:
    """What is done to the folder of a store that is in use, by people and by other servers."""

    @pytest.fixture
    def source(self, store: Store, tmp_path: Path) -> Path:
        """A voice's file that is elsewhere."""
        store(tmp_path / "source").add(Upload("bob", AUDIO))
        return files(tmp_path / "source")[0]

    def test_a_file_that_comes(self, store: Store, folder: Path, source: Path) -> None:
        folder.mkdir()
        voices = store(folder)
        shutil.copy(source, folder / "bob.voice")
        assert voices.find("bob") is None
        voices.rescan()
        assert voices.audio("bob")[1] == AUDIO

    @pytest.mark.parametrize("exists", [True, False])
    def test_a_name_that_is_asked_for_is_looked_for(
        self, store: Store, folder: Path, source: Path, exists: bool
    ) -> None:
        if exists:
            folder.mkdir()
        voices = store(folder)
        folder.mkdir(exist_ok=True)
        shutil.copy(source, folder / "bob.voice")
        for name in ("alice", "Bob", "x" * 5000, ""):
            asyncio.run(voices.look_for(name))
        assert voices.prompt("bob")[1].sample_rate == 16_000

    def test_long_after_the_last_change_too(self, store: Store, folder: Path, source: Path) -> None:
        folder.mkdir()
        os.utime(folder, (1, 1))
        voices = store(folder)
        asyncio.run(voices.look_for("bob"))
        shutil.copy(source, folder / "bob.voice")
        asyncio.run(voices.look_for("bob"))
        assert voices.find("bob") is not None

    def test_one_that_is_still_being_copied(self, store: Store, folder: Path, source: Path) -> None:
        folder.mkdir()
        voices, whole = store(folder), source.read_bytes()
        copy = folder / "bob.voice"
        copy.write_bytes(whole[:1000])
        os.utime(folder, (1, 1))
        asyncio.run(voices.look_for("bob"))
        assert voices.find("bob") is None
        with copy.open("ab") as file:
            file.write(whole[1000:])
        os.utime(folder, (1, 1))
        asyncio.run(voices.look_for("bob"))
        assert voices.audio("bob")[1] == AUDIO

    @pytest.mark.parametrize("look", [VoiceStore.rescan, lambda voices: voices.audio("bob")])
    def test_one_that_is_changed(
        self, store: Store, folder: Path, tmp_path: Path, look: Callable[[VoiceStore], None]
    ) -> None:
        voices, other = store(folder), tmp_path / "other"
        voices.add(Upload("bob", AUDIO))
        store(other).add(Upload("bob", OTHER, "希望"))
        (file,) = files(folder)
        file.write_bytes(files(other)[0].read_bytes())
        look(voices)
        assert voices.find("bob") == store(other).find("bob")
        assert voices.audio("bob")[1] == OTHER

    @pytest.mark.parametrize("asked_first", [True, False])
    def test_one_that_goes(self, store: Store, folder: Path, asked_first: bool) -> None:
        voices = store(folder)
        voices.add(Upload("bob", AUDIO))
        files(folder)[0].unlink()
        if asked_first:
            with pytest.raises(VoiceNotFound):
                voices.audio("bob")
        voices.rescan()
        assert voices.listing() == []

    def test_all_of_them(self, store: Store, folder: Path) -> None:
        voices = store(folder)
        voices.add(Upload("bob", AUDIO))
        shutil.rmtree(folder)
        voices.rescan()
        assert voices.listing() == []
        voices.add(Upload("bob", OTHER))

    def test_the_second_of_a_name_follows_the_first(self, store: Store, folder: Path, source: Path) -> None:
        folder.mkdir()
        for name in ("a.voice", "b.voice"):
            shutil.copy(source, folder / name)
        voices = store(folder)
        (folder / "a.voice").unlink()
        voices.rescan()
        assert voices.audio("bob")[1] == AUDIO

    def test_two_servers(self, store: Store, folder: Path) -> None:
        one, two = store(folder), store(folder)
        one.add(Upload("bob", AUDIO))
        with pytest.raises(VoiceExists):
            two.add(Upload("bob", OTHER))
        two.delete("bob")
        with pytest.raises(VoiceNotFound):
            one.audio("bob")
        one.add(Upload("bob", OTHER))
        two.rescan()
        assert two.audio("bob")[1] == OTHER
