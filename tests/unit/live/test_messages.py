"""The client's messages: what is taken, and what each wrong one is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import InvalidField, MalformedMessage, ServiceError, TextTooLong
from cosyserve.live.messages import InputCancel, InputDone, InputText, SessionConfig, as_draft, error_message, parse


def test_each_kind() -> None:
    assert parse('{"type": "input.text", "text": "你好"}') == InputText(text="你好")
    assert parse('{"type": "input.done", "id": 7}') == InputDone()
    assert parse('{"type": "input.cancel"}') == InputCancel()
    assert parse('{"type": "session.config", "model": "tts-1"}') == SessionConfig()


def test_half_a_surrogate_pair_is_dropped() -> None:
    assert parse('{"type": "input.text", "text": "hi \\ud83d there"}') == InputText(text="hi  there")
    assert parse('{"type": "input.text", "text": "hi \\ud83d\\ude00"}') == InputText(text="hi 😀")


def test_an_instruction_has_a_limit() -> None:
    with pytest.raises(TextTooLong):
        as_draft(SessionConfig(instructions=" " * 201), 100)


def test_a_configuration_is_a_request_without_its_text() -> None:
    config = {
        "type": "session.config",
        "voice": " alice ",
        "response_format": "opus",
        "sample_rate": 16_000,
        "speed": 2,
        "seed": 7,
        "instructions": "gently",
    }
    parsed = parse(json.dumps(config))
    assert isinstance(parsed, SessionConfig)
    draft = as_draft(parsed, 5000)
    assert (draft.voice, draft.format, draft.sample_rate) == ("alice", AudioFormat.OPUS, 16_000)
    assert (draft.speed, draft.seed, draft.instruction, draft.text) == (2.0, 7, "gently", "")


@pytest.mark.parametrize("name", ["MP3", "Mp3", "mp3"])
def test_formats_in_any_case(name: str) -> None:
    config = parse(json.dumps({"type": "session.config", "response_format": name}))
    assert isinstance(config, SessionConfig)
    assert config.response_format is AudioFormat.MP3


def test_what_is_not_said() -> None:
    draft = as_draft(SessionConfig(), 5000)
    assert (draft.voice, draft.format, draft.sample_rate) == ("", AudioFormat.PCM, None)
    assert (draft.speed, draft.seed, draft.instruction) == (1.0, None, "")


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "session.config", "x": ' + "[" * 300 + "]" * 300 + "}",
        "",
        "x",
        "[]",
        "3",
        "null",
        '{"type": 3}',
        '{"type": "input.end"}',
        "{}",
        "[" * 100_000,
        "[" * 10_000,
        '"input.done"',
    ],
)
def test_what_is_no_message(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse(text)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"type": "input.text"}, "text"),
        ({"type": "input.text", "text": 3}, "text"),
        ({"type": "session.config", "voice": 3}, "voice"),
        ({"type": "session.config", "voice": "\ufdfa" * 257}, "voice"),
        ({"type": "session.config", "response_format": "ogg"}, "response_format"),
        ({"type": "session.config", "sample_rate": 7999}, "sample_rate"),
        ({"type": "session.config", "speed": "fast"}, "speed"),
        ({"type": "session.config", "seed": -1}, "seed"),
        ({"type": "session.config", "ref_audio": "UklGRg=="}, "ref_audio"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidField) as rejected:
        parse(json.dumps(fields))
    assert rejected.value.param == param
    assert rejected.value.message.startswith(f"{param}: ")


def test_a_rate_that_the_format_cannot_carry() -> None:
    with pytest.raises(InvalidField, match="opus carries"):
        as_draft(SessionConfig(response_format=AudioFormat.OPUS, sample_rate=44_100), 5000)


def test_errors_have_the_shape_of_every_error() -> None:
    message = error_message(ServiceError("it broke"), 3)
    assert (message["type"], message["utterance"]) == ("error", 3)
    assert set(message["error"]) == {"message", "type", "code", "param"}


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
kinds = st.sampled_from(["session.config", "input.text", "input.done", "input.cancel", "x"])
fields = st.sampled_from(
    ["text", "voice", "response_format", "sample_rate", "speed", "seed", "instructions", "ref_audio"]
)


@given(kinds, st.dictionaries(fields, json_values), st.booleans())
def test_whatever_comes_is_taken_or_refused(kind: str, values: dict[str, object], escaped: bool) -> None:
    """And what is told of it can be sent."""
    text = json.dumps({"type": kind, **values}, ensure_ascii=escaped)
    try:
        message = parse(text)
        if isinstance(message, SessionConfig):
            as_draft(message, 5000)
    except ServiceError as error:
        json.dumps(error_message(error), ensure_ascii=False).encode()
