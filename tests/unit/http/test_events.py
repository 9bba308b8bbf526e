"""Server-sent events: what is in them, and how they are framed."""

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cosyserve.http.events import audio_event, done_event


def parse(event: bytes) -> tuple[str, dict[str, Any]]:
    kind, data, *rest = event.decode().split("\n")
    assert rest == ["", ""]
    fields: dict[str, Any] = json.loads(data.removeprefix("data: "))
    assert fields.pop("type") == kind.removeprefix("event: ")
    return kind.removeprefix("event: "), fields


@given(st.binary(min_size=1))
def test_audio(audio: bytes) -> None:
    kind, fields = parse(audio_event(audio))
    assert (kind, list(fields)) == ("speech.audio.delta", ["audio"])
    assert base64.b64decode(fields["audio"], validate=True) == audio


def test_no_audio_is_no_event() -> None:
    assert audio_event(b"") == b""


def test_done() -> None:
    usage = {"input_tokens": 5, "output_tokens": 50, "total_tokens": 55}
    assert parse(done_event(5, 2.0)) == ("speech.audio.done", {"usage": usage})
