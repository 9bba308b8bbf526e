"""Names to speakers: the configured voice, its aliases, and the stored ones that may take their names."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from cosyserve.errors import UnknownVoice
from cosyserve.protocol import Prompt
from cosyserve.settings.sections import VoiceSettings
from cosyserve.speech.modes import Speaker
from cosyserve.speech.speakers import VoiceBook, default_speaker
from cosyserve.voices.names import STOCK_VOICES
from cosyserve.voices.prompts import Decoder
from cosyserve.voices.store import Upload, VoiceStore
from tests import sounds

DEFAULT = default_speaker(Prompt(np.zeros(16_000, np.float32), 16_000, "default"), "慢")


@pytest.fixture
def book(tmp_path: Path, decoder: Decoder) -> VoiceBook:
    store = VoiceStore(VoiceSettings(dir=tmp_path, max_cached_bytes=0), decoder)
    store.add(Upload("Bob", sounds.prompt(), "希望你以后", "快"))
    store.add(Upload("nova", sounds.prompt(hertz=550)))
    return VoiceBook(DEFAULT, store, decoder)


def find(book: VoiceBook, name: str) -> Speaker:
    return asyncio.run(book.find(name, "voice"))


@pytest.mark.parametrize("name", ["", "default", "DEFAULT", *sorted(STOCK_VOICES - {"nova"}), "Alloy"])
def test_the_configured_voice(book: VoiceBook, name: str) -> None:
    assert find(book, name) is DEFAULT


@pytest.mark.parametrize("name", ["Bob", "bob", " bob "])
def test_a_stored_one(book: VoiceBook, name: str) -> None:
    speaker = find(book, name)
    assert (speaker.name, speaker.instruction, speaker.prompt_text) == ("Bob", "快", "希望你以后")
    assert speaker.prompt is not None
    assert len(speaker.prompt.samples) == 32_000


def test_a_stored_one_takes_a_stock_name(book: VoiceBook) -> None:
    assert find(book, "nova").name == "nova"


@pytest.mark.parametrize("name", ["alice", "../Bob", "tts-1"])
def test_nobody(book: VoiceBook, name: str) -> None:
    with pytest.raises(UnknownVoice) as refused:
        find(book, name)
    assert (refused.value.status, refused.value.param) == (422, "voice")
