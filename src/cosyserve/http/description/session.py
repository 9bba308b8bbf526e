"""The WebSocket, which OpenAPI has no words for: its messages, each with an example."""

from dataclasses import dataclass
from typing import Any

from cosyserve.live.messages import SessionConfig
from cosyserve.settings.sections import Settings

PATH = "/v1/audio/speech/stream"
ABOUT = f"""`{PATH}` is a WebSocket for text that is still being written: it goes in as it comes, and each clause is
spoken as soon as it is complete. Messages are JSON in text frames, audio is in binary frames. Several utterances may be
spoken over one connection, and the next one may begin while the last is still being spoken.

A browser, which can send no headers here, may have its key in the address: `?api_key=KEY`.

A clause in which there is nothing to say is passed over; it ends neither its utterance nor the session."""
_ERROR = {"message": "…", "type": "invalid_request_error", "code": "unknown_voice", "param": "voice"}


@dataclass(frozen=True, slots=True)
class Said:
    """A message of one type. example: the whole of it."""

    meaning: str
    example: dict[str, Any]


CLIENTS = (
    Said(
        "How to speak, from the next clause on; every field may be left out, and each message replaces the last.",
        {"type": "session.config", "voice": "default", "response_format": "pcm", "sample_rate": 24_000, "speed": 1.0},
    ),
    Said("More text of the utterance; the first one begins it.", {"type": "input.text", "text": "Welcome to our "}),
    Said("The utterance's text is complete.", {"type": "input.done"}),
    Said("Be silent now, and forget all that is not spoken.", {"type": "input.cancel"}),
)
SERVERS = (
    Said(
        "The binary frames that follow are this clause's.",
        {
            "type": "audio.start", "utterance": 0, "clause": 0, "text": "Welcome to our place.", "format": "pcm",
            "sample_rate": 24_000, "channels": 1, "seed": 7,
        },
    ),
    Said("All of the clause has been sent.", {"type": "audio.done", "utterance": 0, "clause": 0, "audio_s": 1.2}),
    Said(
        "All of the utterance has been sent; `complete` is false where a failure cut it short.",
        {"type": "session.done", "utterance": 0, "clauses": 1, "audio_s": 1.2, "complete": True},
    ),
    Said(
        "The answer to `input.cancel`: nothing of what was cancelled comes after it.",
        {"type": "input.cancelled", "utterance": 0},
    ),
    Said(
        "What went wrong. One with a number in `utterance` ends that utterance; else the message is passed over.",
        {"type": "error", "error": _ERROR, "utterance": None},
    ),
)  # fmt: skip


def config_fields() -> dict[str, Any]:
    """The schemas of what `session.config` may have, by name."""
    schema = SessionConfig.model_json_schema()
    choices = schema["$defs"]["AudioFormat"]
    fields: dict[str, Any] = {name: field for name, field in schema["properties"].items() if name != "ref_audio"}
    fields["response_format"] = {**choices, "description": fields["response_format"]["description"]}
    return fields


def limits(settings: Settings) -> str:
    """Of one session, as it is configured."""
    return (
        f"A message may have {settings.websocket.max_message_bytes} bytes, {settings.limits.max_text_chars} characters "
        f"may wait to be spoken, and {settings.websocket.max_connections} sessions may be open. One that sends nothing "
        f"for {settings.websocket.idle_timeout_s:g} s, with nothing left to speak, is closed."
    )
