"""OpenAI's JSON to a draft: every field, and what is said about each that is wrong."""

import asyncio
import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import InvalidField, MalformedJson, RequestRejected, TextTooLong
from cosyserve.http.speech_json import NAMES, decode_audio, read_speech_body
from cosyserve.speech.intake import Intake, IntakeBudget
from cosyserve.speech.json_text import MAX_MARKS
from cosyserve.speech.requests import Draft

ENCODED = base64.b64encode(b"RIFF and so on").decode()


def read(**fields: Any) -> Draft:
    return read_bytes(json.dumps(fields).encode())


def read_bytes(body: bytes) -> Draft:
    intake = Intake(IntakeBudget(1 << 30), None)
    draft = asyncio.run(read_speech_body(body, 5000, intake))
    assert intake.held_bytes == draft.held_bytes
    return draft


def test_the_least() -> None:
    assert read(input=" hello ") == Draft(NAMES, "hello", format=AudioFormat.MP3)


def test_null_is_as_good_as_absent() -> None:
    optional = ("model", "voice", "response_format", "speed", "instructions", "stream_format", "ref_audio", "seed")
    assert read(input="hello", **dict.fromkeys(optional)) == read(input="hello")


def test_everything() -> None:
    draft = read(
        model="tts-1",
        input="hello",
        voice="alice",
        response_format="opus",
        speed=2,
        instructions=" slowly ",
        stream_format="sse",
        ref_audio=f"data:audio/wav;base64,{ENCODED}",
        ref_text=" world ",
        seed=7,
        sample_rate=16000,
        language="en",
        pronunciations={"nginx": "engine x"},
    )
    assert draft == Draft(
        names=NAMES,
        text="hello",
        instruction="slowly",
        prompt_text="world",
        prompt=b"RIFF and so on",
        voice="alice",
        format=AudioFormat.OPUS,
        speed=2.0,
        seed=7,
        sample_rate=16_000,
        events=True,
        language="en",
        pronunciations=(("nginx", "engine x"),),
    )


@pytest.mark.parametrize("name", AudioFormat)
def test_formats(name: str) -> None:
    assert read(input="hello", response_format=name).format is AudioFormat(name)
    assert read(input="hello", response_format=name.title()).format is AudioFormat(name)


@pytest.mark.parametrize("name", ["sse", "SSE"])
def test_events(name: str) -> None:
    assert read(input="hello", stream_format=name).events


def test_a_voice_as_an_object() -> None:
    assert read(input="hello", voice={"id": "alice"}).voice == "alice"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["hello"]}, "input"),
        ({"input": "hello", "model": 3}, "model"),
        ({"input": "hello", "voice": 3}, "voice"),
        ({"input": "hello", "voice": {}}, "voice"),
        ({"input": "hello", "voice": {"id": 3}}, "voice"),
        ({"input": "hello", "response_format": "ogg"}, "response_format"),
        ({"input": "hello", "response_format": "MP3 "}, "response_format"),
        ({"input": "hello", "speed": 0.24}, "speed"),
        ({"input": "hello", "speed": 4.01}, "speed"),
        ({"input": "hello", "speed": "1"}, "speed"),
        ({"input": "hello", "speed": True}, "speed"),
        ({"input": "hello", "stream_format": "chunks"}, "stream_format"),
        ({"input": "hello", "instructions": ["slowly"]}, "instructions"),
        ({"input": "hello", "seed": -1}, "seed"),
        ({"input": "hello", "seed": 2**31}, "seed"),
        ({"input": "hello", "seed": 1.5}, "seed"),
        ({"input": "hello", "sample_rate": 7999}, "sample_rate"),
        ({"input": "hello", "ref_audio": "https://example.com/voice.wav"}, "ref_audio"),
        ({"input": "hello", "ref_audio": "file:///etc/passwd"}, "ref_audio"),
        ({"input": "hello", "ref_audio": "data:audio/wav,RIFF"}, "ref_audio"),
        ({"input": "hello", "ref_audio": "data:audio/wav;base64,"}, "ref_audio"),
        ({"input": "hello", "ref_audio": "data:"}, "ref_audio"),
        ({"input": "hello", "ref_audio": "not base64!"}, "ref_audio"),
        ({"input": "hello", "ref_audio": "abc"}, "ref_audio"),
        ({"input": "hello", "ref_audio": "你好"}, "ref_audio"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(**fields)
    assert refused.value.param == param
    assert refused.value.message.startswith(param)
    assert len(refused.value.message) < 300


@pytest.mark.parametrize(
    ("name", "longest"), [("instructions", 5000), ("ref_text", 5000), ("voice", 256), ("model", 256)]
)
def test_each_text_has_a_limit(name: str, longest: int) -> None:
    read(input="hello", **{name: "\ufdfa" * longest})
    with pytest.raises(TextTooLong) as refused:
        read(input="hello", **{name: "\ufdfa" * (2 * longest + 1)})
    assert refused.value.param == name


def test_half_a_surrogate_pair_is_dropped() -> None:
    assert read_bytes(b'{"input": "hi \\ud83d there", "voice": "bob\\uDE00"}') == read(input="hi  there", voice="bob")
    assert read_bytes(b'{"input": "hi \\ud83d\\ude00", "speed": 1.5}') == read(input="hi 😀", speed=1.5)
    assert read_bytes(b'{"input": "a \\\\ud83d b"}').text == "a \\ud83d b"


def test_more_values_than_anybody_needs() -> None:
    with pytest.raises(MalformedJson, match=str(MAX_MARKS)):
        read_bytes(b'{"input": "hello", "x": [' + b"1," * MAX_MARKS + b"1]}")


def test_too_long() -> None:
    assert len(read(input="好" * 4096).text) == 4096
    with pytest.raises(TextTooLong, match="4096"):
        read(input="好" * 4097)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"hello", b"[]", b'"hello"', b"null", b"{", b'{"input": "hello"', b"\xff", b'{"input": "\xff"}'),
        *(
            b'{"input": "\\ud800"}',
            b"[" * 10_000,
            b"[" * 100_000,
            b'{"input": "hello", "speed": NaN}',
            b'{"a":' * 10_000,
        ),
    ],
)
def test_no_json(body: bytes) -> None:
    with pytest.raises((MalformedJson, InvalidField)):
        read_bytes(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda value: (
            st.lists(value) | st.dictionaries(st.text() | st.sampled_from(["input", "voice", "speed"]), value)
        ),
    )
)
def test_any_json_is_a_draft_or_refused(value: Any) -> None:
    with contextlib.suppress(RequestRejected):
        read_bytes(json.dumps(value).encode())


@given(st.binary(min_size=1))
def test_any_file_comes_back(audio: bytes) -> None:
    encoded = base64.b64encode(audio).decode()
    for text in (
        encoded,
        " ".join(encoded),
        f"data:;base64,{encoded}",
        f"DATA:audio/x-wav;codecs=1;base64,{encoded}",
        f" {encoded}\n",
    ):
        assert decode_audio(text) == audio


def test_base64_in_lines() -> None:
    assert decode_audio(base64.encodebytes(bytes(1000)).decode()) == bytes(1000)
