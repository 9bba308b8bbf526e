"""Forms: how they are read, what each field may hold, which mode they ask for."""

import asyncio
import contextlib
import io
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers, UploadFile
from starlette.requests import Request
from starlette.types import Message

from cosyserve.audio import AudioFormat
from cosyserve.errors import (
    InvalidField,
    InvalidPrompt,
    MalformedForm,
    MissingPrompt,
    RequestRejected,
    TextTooLong,
    UnspeakableText,
    UploadTooLarge,
)
from cosyserve.protocol import Mode, Prompt
from cosyserve.requests import (
    END_OF_PROMPT,
    MAX_SEED,
    Defaults,
    Form,
    SpeechRequest,
    choose_mode,
    parse_speech_request,
    read_form,
)
from tests import sounds

DEFAULT_PROMPT = Prompt(np.zeros(16_000, np.float32), 16_000, "default")
DEFAULTS = Defaults("请温柔地说", DEFAULT_PROMPT)
STALL_S = 30.0
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=cut"


def parse(form: Form, defaults: Defaults = DEFAULTS, max_text_chars: int = 100) -> SpeechRequest:
    return asyncio.run(parse_speech_request(form, defaults, max_text_chars))


def parse_or_reject(form: Form) -> SpeechRequest | RequestRejected:
    try:
        return parse(form)
    except RequestRejected as error:
        return error


def upload(content: bytes, name: str | None = "voice.wav") -> UploadFile:
    return UploadFile(io.BytesIO(content), filename=name, size=len(content))


def request(body: Iterable[bytes], content_type: str, length: int | None = None) -> Request:
    """A request whose body comes in these pieces; reading on past the last one is an error."""
    headers = {"content-type": content_type} | ({} if length is None else {"content-length": str(length)})
    pieces = list(body)
    messages = iter(
        [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        + [{"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive() -> Message:
        return next(messages)

    return Request({"type": "http", "method": "POST", "headers": Headers(headers).raw}, receive)


def read(body: Iterable[bytes], content_type: str, limit: int = 10_000, length: int | None = None) -> dict[str, Any]:
    return asyncio.run(read_form(request(body, content_type, length), limit, STALL_S))


def multipart(**fields: str) -> bytes:
    parts = (
        f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()
    )
    return "".join([*parts, "--cut--\r\n"]).encode()


def endless(pieces: Iterable[bytes], content_type: str) -> Request:
    """A body without an end; asking for more of it than `pieces` fails the test."""
    remaining = iter(pieces)

    async def receive() -> Message:
        return {"type": "http.request", "body": next(remaining), "more_body": True}

    return Request({"type": "http", "method": "POST", "headers": Headers({"content-type": content_type}).raw}, receive)


class TestReading:
    @given(st.dictionaries(st.text(min_size=1), st.text(), max_size=10), st.data())
    def test_urlencoded_comes_back_as_it_was(self, fields: dict[str, str], data: st.DataObject) -> None:
        body = urlencode(fields, errors="replace").encode()
        cut = data.draw(st.integers(0, len(body)))
        expected = {key.encode(errors="replace").decode(): text.encode(errors="replace").decode()
                    for key, text in fields.items()}  # fmt: skip
        assert read([body[:cut], body[cut:]], URLENCODED, limit=1_000_000) == expected

    @pytest.mark.parametrize("cut", range(0, 120, 10))
    def test_multipart_in_pieces(self, cut: int) -> None:
        body = multipart(text="你好", speed="1.5")
        assert read([body[:cut], body[cut:]], MULTIPART) == {"text": "你好", "speed": "1.5"}

    @given(st.binary(max_size=300), st.sampled_from([URLENCODED, MULTIPART]))
    @example(b"--cut\r\n\r\n", MULTIPART)
    @example(b"--cut--", MULTIPART)
    @example(b"--cut\r\nContent-Disposition: form-data; name*=x''%ff\r\n\r\nx\r\n--cut--\r\n", MULTIPART)
    def test_garbage_is_a_form_or_a_rejection(self, body: bytes, content_type: str) -> None:
        with contextlib.suppress(MalformedForm):
            read([body], content_type)

    @given(st.integers(0, 104), st.binary(min_size=1, max_size=3))
    def test_a_damaged_multipart_is_a_form_or_a_rejection(self, position: int, damage: bytes) -> None:
        body = bytearray(multipart(text="hello", speed="1"))
        body[position : position + len(damage)] = damage
        with contextlib.suppress(MalformedForm):
            read([bytes(body)], MULTIPART)

    @pytest.mark.parametrize("size", range(len(multipart(text="hello")) - 4))
    def test_a_truncated_multipart_is_rejected(self, size: int) -> None:
        with pytest.raises(MalformedForm):
            read([multipart(text="hello")[:size]], MULTIPART)

    @pytest.mark.parametrize("content_type", ["", "application/json", "text/plain", "multipart/mixed; boundary=cut"])
    def test_other_types_are_rejected_and_named(self, content_type: str) -> None:
        with pytest.raises(MalformedForm, match=content_type.partition(";")[0] or "no stated type"):
            read([b"text=hello"], content_type)

    @pytest.mark.parametrize("content_type", [URLENCODED, MULTIPART])
    def test_a_declared_length_over_the_limit_is_rejected_unread(self, content_type: str) -> None:
        unread = request([], content_type, length=101)
        with pytest.raises(UploadTooLarge, match="100 bytes"):
            asyncio.run(read_form(unread, 100, STALL_S))

    @pytest.mark.parametrize(("content_type", "start"), [(URLENCODED, b"text="), (MULTIPART, multipart(text="x")[:60])])
    def test_what_comes_is_counted(self, content_type: str, start: bytes) -> None:
        """The last piece is over the limit; nothing is asked for after it."""
        with pytest.raises(UploadTooLarge):
            asyncio.run(read_form(endless([start, b"x" * 40, b"x"], content_type), len(start) + 40, STALL_S))

    def test_up_to_the_limit(self) -> None:
        body = b"text=" + b"x" * 95
        assert read([body], URLENCODED, limit=100, length=100) == {"text": "x" * 95}

    def test_at_most_a_hundred_fields(self) -> None:
        fields = {f"f{number}": "x" for number in range(101)}
        for body, content_type in ((urlencode(fields).encode(), URLENCODED), (multipart(**fields), MULTIPART)):
            with pytest.raises(MalformedForm):
                read([body], content_type, limit=100_000)


class TestModes:
    @pytest.mark.parametrize(
        ("instruction", "prompt_text", "has_prompt", "mode", "used"),
        [
            ("", "", False, Mode.INSTRUCT2, "请温柔地说" + END_OF_PROMPT),
            ("", "", True, Mode.CROSS_LINGUAL, ""),
            ("快说", "", False, Mode.INSTRUCT2, "快说" + END_OF_PROMPT),
            ("快说", "", True, Mode.INSTRUCT2, "快说" + END_OF_PROMPT),
            ("快说", "你好", False, Mode.INSTRUCT2, "快说" + END_OF_PROMPT),
            ("快说", "你好", True, Mode.INSTRUCT2, "快说" + END_OF_PROMPT),
            ("", "你好", False, Mode.ZERO_SHOT, ""),
            ("", "你好", True, Mode.ZERO_SHOT, ""),
        ],
    )
    def test_table(self, instruction: str, prompt_text: str, has_prompt: bool, mode: Mode, used: str) -> None:
        assert choose_mode(instruction, prompt_text, has_prompt, DEFAULTS.instruction) == (mode, used)

    @pytest.mark.parametrize("default", ["", "  \n"])
    def test_no_default_instruction(self, default: str) -> None:
        assert choose_mode("", "", False, default) == (Mode.CROSS_LINGUAL, "")

    @given(st.text(min_size=1).filter(str.strip), st.booleans())
    def test_an_instruction_is_marked_once(self, words: str, marked: bool) -> None:
        words = words.replace(END_OF_PROMPT, "") or "x"
        _, used = choose_mode(words + END_OF_PROMPT * marked, "", False, "")
        assert used == words + END_OF_PROMPT


class TestFields:
    def test_defaults(self) -> None:
        speech = parse({"text": " hello "})
        assert speech == SpeechRequest("hello", Mode.INSTRUCT2, "请温柔地说" + END_OF_PROMPT, "", DEFAULT_PROMPT)

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
            ({"text": "x" * 101}, TextTooLong, "text"),
            ({"text": upload(b"hello")}, InvalidField, "text"),
            ({"text": "hello", "instruction": "x" * 101}, TextTooLong, "instruction"),
            ({"text": "hello", "prompt_text": "x" * 101}, TextTooLong, "prompt_text"),
            ({"text": "hello", "format": "m4a"}, InvalidField, "format"),
            ({"text": "hello", "voice": "alloy"}, InvalidField, "voice"),
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
            parse({"text": "hello"}, Defaults("", None))
