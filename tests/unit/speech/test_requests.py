"""Requests for speech: what each field may hold, and what fills in the ones that were not sent."""

import asyncio
import io
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import UploadFile

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import (
    InvalidField,
    InvalidPrompt,
    MissingPrompt,
    RequestRejected,
    TextTooLong,
    UnknownVoice,
    UnspeakableText,
)
from cosyserve.protocol import END_OF_PROMPT, Mode, Prompt
from cosyserve.speech.fields import Form
from cosyserve.speech.intake import IntakeBudget
from cosyserve.speech.modes import Speaker
from cosyserve.speech.requests import MAX_SEED, FieldNames, SpeechRequest, complete, read_draft
from cosyserve.voices.prompts import Decoder, Reserve
from tests import sounds

DEFAULT_PROMPT = Prompt(np.zeros(16_000, np.float32), 16_000, "default")
BOB_PROMPT = Prompt(np.ones(16_000, np.float32), 16_000, "bob")
DEFAULT = Speaker("default", DEFAULT_PROMPT, "请温柔地说")
NAMES = FieldNames()
COSYVOICE = FieldNames(text="tts_text", instruction="instruct_text", voice="spk_id")


class Company:
    """Two speakers, `default` and `bob`."""

    decoder: ClassVar[Decoder]

    def __init__(self, default: Speaker = DEFAULT, bob: Speaker | None = None) -> None:
        self.members = {"": default, "bob": bob or Speaker("bob", BOB_PROMPT)}

    async def find(self, name: str, param: str) -> Speaker:
        if name not in self.members:
            raise UnknownVoice("nobody", param=param)
        return self.members[name]

    async def recorded(self, audio: bytes, param: str, reserve: Reserve | None = None) -> Speaker:
        return Speaker("", await self.decoder.decode(audio, param, reserve))


@pytest.fixture(scope="module", autouse=True)
def _decoder(decoder: Decoder) -> None:
    Company.decoder = decoder


def parse(
    form: Form,
    company: Company | None = None,
    max_text_chars: int = 100,
    names: FieldNames = NAMES,
    mode: Mode | None = None,
) -> SpeechRequest:
    async def read() -> SpeechRequest:
        draft = await read_draft(form, names, max_text_chars, mode)
        with IntakeBudget(1 << 30).intake() as intake:
            speech = await complete(draft, company or Company(), max_text_chars, intake)
            assert intake.held_bytes >= (0 if speech.voice else speech.prompt.samples.nbytes)
            return speech

    return asyncio.run(read())


def parse_or_reject(form: Form) -> SpeechRequest | RequestRejected:
    try:
        return parse(form)
    except RequestRejected as error:
        return error


def upload(content: bytes, name: str | None = "voice.wav") -> UploadFile:
    return UploadFile(io.BytesIO(content), filename=name, size=len(content))


class TestFields:
    def test_defaults(self) -> None:
        speech = parse({"text": " hello "})
        marked = "请温柔地说" + END_OF_PROMPT
        assert speech == SpeechRequest("hello", Mode.INSTRUCT2, marked, "", DEFAULT_PROMPT, voice="default")

    def test_everything(self) -> None:
        speech = parse(
            {
                "text": "hello",
                "prompt_text": " world ",
                "prompt_wav": upload(sounds.prompt(2, 22_050)),
                "format": "WAV",
                "speed": "1.5",
                "seed": "7",
                "sample_rate": "8000",
                "unknown": "ignored",
            }
        )
        assert (speech.mode, speech.prompt_text, speech.instruction) == (Mode.ZERO_SHOT, "world", "")
        assert (speech.prompt.sample_rate, len(speech.prompt.samples)) == (22_050, 44_100)
        assert (speech.format, speech.speed, speech.seed, speech.sample_rate) == (AudioFormat.WAV, 1.5, 7, 8_000)

    @pytest.mark.parametrize("words", ["You are a helpful assistant.", "You are a helpful assistant. 请用广东话表达。"])
    def test_a_system_prompt_is_none_of_the_text(self, words: str) -> None:
        speech = parse({"text": f"{words}{END_OF_PROMPT} hello"})
        assert (speech.system_prompt, speech.text) == (words, "hello")
        assert speech.marked_text == f"{words}{END_OF_PROMPT}hello"
        assert parse({"text": "hello"}).marked_text == "hello"

    def test_prompt_text_is_for_zero_shot_alone(self) -> None:
        assert parse({"text": "hello", "prompt_text": "world", "instruction": "慢"}).prompt_text == ""

    @pytest.mark.parametrize(
        ("field", "value", "expected"),
        [
            ("speed", "0.25", 0.25),
            ("speed", "4", 4.0),
            ("speed", "", 1.0),
            ("seed", "0", 0),
            ("seed", str(MAX_SEED), MAX_SEED),
            ("seed", " 12 ", 12),
            ("seed", "", None),
            ("sample_rate", "48000", 48_000),
            ("sample_rate", "", None),
            ("format", "", AudioFormat.PCM),
        ],
    )
    def test_accepted(self, field: str, value: str, expected: object) -> None:
        assert getattr(parse({"text": "hello", field: value}), field) == expected

    @given(
        st.sampled_from(["speed", "seed", "sample_rate"]),
        st.one_of(st.text(), st.floats().map(str), st.integers().map(str)),
    )
    def test_a_number_is_within_its_limits_or_rejected(self, field: str, value: str) -> None:
        limits = {"speed": (0.25, 4), "seed": (0, MAX_SEED), "sample_rate": (8_000, 48_000)}
        outcome = parse_or_reject({"text": "hello", field: value})
        if isinstance(outcome, RequestRejected):
            assert outcome.param == field
        else:
            accepted = getattr(outcome, field)
            assert accepted is None or limits[field][0] <= accepted <= limits[field][1]

    @given(st.text())
    def test_any_text_is_spoken_or_rejected(self, text: str) -> None:
        outcome = parse_or_reject({"text": text})
        if isinstance(outcome, RequestRejected):
            assert outcome.param == "text"
        else:
            assert outcome.text == text.strip()
        assert isinstance(outcome, SpeechRequest) == (
            len(text.strip()) <= 100 and any(character.isalnum() for character in text)
        )

    @pytest.mark.parametrize(
        ("form", "error", "param"),
        [
            ({}, InvalidField, "text"),
            ({"text": "\u3000"}, InvalidField, "text"),
            ({"text": "?!…"}, UnspeakableText, "text"),
            ({"text": f"You are a helpful assistant.{END_OF_PROMPT}?!"}, UnspeakableText, "text"),
            ({"text": "x" * 101}, TextTooLong, "text"),
            ({"text": "hello" + " " * 1000}, TextTooLong, "text"),
            ({"text": "hello", "voice": "\ufdfa" * 600}, TextTooLong, "voice"),
            ({"text": "hello", "speed": "1" + " " * 300}, InvalidField, "speed"),
            ({"text": "hello", "format": "wav" + " " * 300}, InvalidField, "format"),
            ({"text": "hello", "prompt_wav": " " * 300}, InvalidField, "prompt_wav"),
            ({"text": upload(b"hello")}, InvalidField, "text"),
            ({"text": "hello", "instruction": "x" * 101}, TextTooLong, "instruction"),
            ({"text": "hello", "prompt_text": "x" * 101}, TextTooLong, "prompt_text"),
            ({"text": "hello", "format": "m4a"}, InvalidField, "format"),
            ({"text": "hello", "voice": "alice"}, UnknownVoice, "voice"),
            ({"text": "hello", "prompt_wav": "voice.wav"}, InvalidField, "prompt_wav"),
            ({"text": "hello", "prompt_wav": upload(b"")}, InvalidField, "prompt_wav"),
            ({"text": "hello", "prompt_wav": upload(b"junk")}, InvalidPrompt, "prompt_wav"),
        ],
    )
    def test_rejected(self, form: dict[str, Any], error: type[InvalidField], param: str) -> None:
        with pytest.raises(error) as rejected:
            parse(form)
        assert (type(rejected.value), rejected.value.param) == (error, param)

    @pytest.mark.parametrize("absent", ["", "  ", upload(b"", name=""), upload(b"", name=None)])
    def test_absent_prompt(self, absent: str | UploadFile) -> None:
        assert parse({"text": "hello", "prompt_wav": absent}).prompt is DEFAULT_PROMPT

    def test_no_prompt_anywhere(self) -> None:
        with pytest.raises(MissingPrompt, match=r"^No prompt_wav provided and default file not found$"):
            parse({"text": "hello"}, Company(Speaker("default", None)))


class TestVoices:
    def test_a_voice_brings_its_prompt(self) -> None:
        speech = parse({"text": "hello", "voice": " bob "})
        assert (speech.prompt, speech.mode, speech.voice) == (BOB_PROMPT, Mode.CROSS_LINGUAL, "bob")

    def test_a_prompt_takes_its_place_with_all_it_brings(self) -> None:
        company = Company(bob=Speaker("bob", BOB_PROMPT, "快说", "你好"))
        speech = parse({"text": "hello", "voice": "bob", "prompt_wav": upload(sounds.prompt())}, company)
        assert (speech.mode, speech.instruction, speech.prompt_text) == (Mode.CROSS_LINGUAL, "", "")
        assert (speech.prompt.sample_rate, len(speech.prompt.samples), speech.voice) == (16_000, 32_000, "")

    def test_an_unknown_one_is_refused_even_beside_a_prompt(self) -> None:
        with pytest.raises(UnknownVoice):
            parse({"text": "hello", "voice": "alice", "prompt_wav": upload(sounds.prompt())})


class TestOtherSurfaces:
    @pytest.mark.parametrize(
        ("form", "param"),
        [
            ({}, "tts_text"),
            ({"tts_text": "x" * 101}, "tts_text"),
            ({"tts_text": "!"}, "tts_text"),
            ({"tts_text": "hello", "instruct_text": "x" * 101}, "instruct_text"),
            ({"tts_text": "hello", "spk_id": "alice"}, "spk_id"),
        ],
    )
    def test_errors_call_the_fields_by_their_names(self, form: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidField) as rejected:
            parse(form, names=COSYVOICE)
        assert rejected.value.param == param
        assert param in rejected.value.message or isinstance(rejected.value, UnknownVoice)

    @pytest.mark.parametrize(("mode", "needed"), [(Mode.INSTRUCT2, "instruct_text"), (Mode.ZERO_SHOT, "prompt_text")])
    def test_a_route_needs_what_its_mode_needs(self, mode: Mode, needed: str) -> None:
        with pytest.raises(InvalidField) as rejected:
            parse({"tts_text": "hello", "spk_id": "bob"}, names=COSYVOICE, mode=mode)
        assert rejected.value.param == needed
