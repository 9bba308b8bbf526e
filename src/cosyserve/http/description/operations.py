"""The pieces of an operation's entry in the OpenAPI document: what it takes, and all that it can answer."""

from http import HTTPStatus
from typing import Any

from cosyserve.audio.formats import AudioFormat
from cosyserve.errors import (
    PendingFull,
    ServiceError,
    StorageFailed,
    TooMuchPending,
    UploadStalled,
    UploadTooLarge,
    UploadTooSlow,
)
from cosyserve.http.description.schemas import Schema, ref
from cosyserve.http.forms import MULTIPART, URLENCODED
from cosyserve.protocol import Mode

Kinds = tuple[type[ServiceError], ...]

MEDIA_TYPES = {
    AudioFormat.PCM: "audio/pcm",
    AudioFormat.WAV: "audio/wav",
    AudioFormat.FLAC: "audio/flac",
    AudioFormat.MP3: "audio/mpeg",
    AudioFormat.OPUS: "audio/ogg; codecs=opus",
    AudioFormat.AAC: "audio/aac",
}
"""What the encoders call their formats; a test compares."""

BODY: Kinds = (UploadTooLarge, UploadStalled, UploadTooSlow, TooMuchPending, PendingFull, StorageFailed)


def operation(name: str, tag: str, summary: str, answers: Schema, **more: Any) -> Schema:
    """One method of one path. name: as programs call it; tag: the group that it is shown in."""
    return {"operationId": name, "tags": [tag], "summary": summary, **more, "responses": answers}


def answers(good: Schema, *kinds: type[ServiceError], status: HTTPStatus = HTTPStatus.OK) -> Schema:
    """The good answer, and one entry for each status that the errors have."""
    answers = {str(int(status)): good}
    for code in sorted({kind.status for kind in kinds}):
        alike = [kind for kind in kinds if kind.status == code]
        told = "; ".join(f"`{kind.code}`: {_first_line(kind)}" for kind in alike)
        answers[str(code)] = {"description": told, "content": {"application/json": {"schema": ref("Error")}}}
        if any(kind.retry_after_s is not None for kind in alike):
            answers[str(code)]["headers"] = {"Retry-After": header("integer", "Seconds.")}
    return answers


def _first_line(kind: type[ServiceError]) -> str:
    return (kind.__doc__ or "").partition("\n")[0].rstrip(".")


def json(schema: str, description: str) -> Schema:
    """An answer in JSON. schema: its name among the components."""
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def header(kind: str, description: str) -> Schema:
    """A header of an answer."""
    return {"schema": {"type": kind}, "description": description}


def audio(formats: tuple[AudioFormat, ...], *, events: bool = False) -> Schema:
    """Speech. events: it may come in server-sent events, too."""
    content: dict[str, Schema] = {
        MEDIA_TYPES[audio_format]: {"schema": {"type": "string", "format": "binary"}} for audio_format in formats
    }
    if events:
        # As is the custom, the schema is that of one event.
        content["text/event-stream"] = {"schema": ref("SpeechEvent")}
    return {
        "description": "The audio, streamed as it is made. One that breaks off in the middle never ends cleanly.",
        "headers": {
            "X-Sample-Rate": header("integer", "Hz."),
            "X-Channels": header("integer", "Always 1."),
            "X-Synthesis-Mode": {"schema": {"enum": list(Mode)}, "description": "The mode that was chosen."},
            "X-Seed": header("integer", "Sent again, it gives the same audio."),
            **({"X-Unspeakable": header("string", "`true` where the text has nothing to say.")} if events else {}),
            "X-Request-Id": header("string", "The id under which the log has this request."),
        },
        "content": content,
    }


def form(schema: Schema, *kinds: str) -> Schema:
    """A body that must be there, of one of these media types."""
    return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}


def without_files(schema: Schema) -> Schema:
    """The same form as it can be sent urlencoded."""
    fields = {name: field for name, field in schema["properties"].items() if field.get("format") != "binary"}
    return {**schema, "properties": fields}


def either_form(schema: Schema) -> Schema:
    """A form in multipart, or urlencoded where no file is sent."""
    content = {MULTIPART: {"schema": schema}, URLENCODED: {"schema": without_files(schema)}}
    return {"required": True, "content": content}


def in_path(name: str, example: str) -> Schema:
    """A part of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": example,
    }
