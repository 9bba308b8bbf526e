"""The routes beside those that speak, described."""

from http import HTTPStatus

from cosyserve.errors import (
    HelpersBusy,
    InvalidField,
    InvalidPrompt,
    InvalidVoiceName,
    MalformedForm,
    ModelNotFound,
    NoHelper,
    RangeNotSatisfiable,
    Stopping,
    StorageFailed,
    TextTooLong,
    TooManyVoices,
    UnreadableVoice,
    VoiceExists,
    VoiceNotFound,
    VoicesUnreachable,
)
from cosyserve.http.description.operations import BODY, Kinds, answers, form, header, in_path, json, operation
from cosyserve.http.description.schemas import Schema, ref
from cosyserve.http.forms import MULTIPART
from cosyserve.voices.containers import MEDIA_TYPES
from cosyserve.voices.names import DEFAULT_VOICE

STORING: Kinds = (
    MalformedForm, *BODY, InvalidField, TextTooLong, InvalidPrompt, InvalidVoiceName, VoiceExists, TooManyVoices,
    HelpersBusy, NoHelper, Stopping, StorageFailed, VoicesUnreachable,
)  # fmt: skip
RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "One range of bytes; several get the whole file.",
    "example": "bytes=0-",
}
METRIC_TYPES = ("text/plain", "application/openmetrics-text")


def managing_paths(guarded: Kinds, named: Kinds) -> dict[str, dict[str, Schema]]:
    """Path to method to operation. guarded: what the routes that need a key may refuse with; named: those of names."""
    return {**_models(guarded, named), **_voices(guarded, named), **_state(guarded), **_self()}


def _models(guarded: Kinds, named: Kinds) -> dict[str, dict[str, Schema]]:
    return {
        "/v1/models": {
            "get": operation("listModels", "OpenAI", "The model, and the names that stand for it",
                              answers(json("Models", "The loaded model comes first."), *named)),
        },
        "/v1/audio/models": {
            "get": operation("listAudioModels", "OpenAI", "The same names, for Open WebUI",
                              answers(json("AudioModels", "The loaded model comes first."), *named)),
        },
        "/v1/models/{name}": {
            "get": operation("getModel", "OpenAI", "One of them",
                              answers(json("Model", "It."), ModelNotFound, *guarded),
                              parameters=[in_path("name", "tts-1")]),
        },
    }  # fmt: skip


def _voices(guarded: Kinds, named: Kinds) -> dict[str, dict[str, Schema]]:
    listed = answers(json("Voices", "The configured one first."), *named)
    name = [in_path("name", DEFAULT_VOICE)]
    found = answers(json("Voice", "It."), VoiceNotFound, *guarded)
    deleted = answers(
        json("DeletedVoice", "It is gone."), VoiceNotFound, InvalidVoiceName, StorageFailed, VoicesUnreachable, *guarded
    )
    return {
        "/v1/audio/voices": {
            "get": operation("listVoices", "Voices", "All voices", listed),
            "post": _create_voice(guarded),
        },
        "/v1/audio/voices/{name}": {
            "get": operation("getVoice", "Voices", "One voice", found, parameters=name),
            "delete": operation("deleteVoice", "Voices", "Delete a voice", deleted, parameters=name),
        },
        "/v1/audio/voices/{name}/audio": {
            "get": operation("getVoiceAudio", "Voices", "The recording it was made from", _recording(guarded),
                              parameters=[*name, RANGE]),
        },
    }  # fmt: skip


def _recording(guarded: Kinds) -> Schema:
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES}
    whole = {"description": "The file as it was uploaded.", "content": content}
    part = {
        **whole,
        "description": "The part that is asked for.",
        "headers": {"Content-Range": header("string", "Its place.")},
    }
    return {
        **answers(whole, VoiceNotFound, UnreadableVoice, RangeNotSatisfiable, VoicesUnreachable, *guarded),
        "206": part,
    }


def _create_voice(guarded: Kinds) -> Schema:
    stored = answers(json("StoredVoice", "It is on the disk."), *STORING, *guarded, status=HTTPStatus.CREATED)
    return operation("createVoice", "Voices", "Store a voice", stored, requestBody=form(ref("VoiceUpload"), MULTIPART))


def _state(guarded: Kinds) -> dict[str, dict[str, Schema]]:
    ready = answers(json("Health", "A worker is ready."))
    ready["503"] = {**json("Health", "None is."), "headers": {"Retry-After": header("integer", "Seconds.")}}
    numbers = {
        "description": "As of now, in the text format or in OpenMetrics.",
        "content": {kind: {"schema": {"type": "string"}} for kind in METRIC_TYPES},
    }
    return {
        "/metrics": {"get": operation("metrics", "State", "What Prometheus scrapes", answers(numbers, *guarded))},
        "/health": {"get": operation("health", "State", "Readiness", ready)},
        "/health/live": {"get": operation("live", "State", "Liveness", answers(json("Live", "It runs.")))},
        "/model_info": {
            "get": operation("modelInfo", "State", "What is loaded, and each worker's state",
                              answers(json("ModelInfo", "As of now."), *guarded)),
        },
    }  # fmt: skip


def _self() -> dict[str, dict[str, Schema]]:
    document = {"description": "This document.", "content": {"application/json": {"schema": {"type": "object"}}}}
    page = {"description": "A page.", "content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        "/openapi.json": {"get": operation("openapi", "State", "This document", answers(document))},
        "/docs": {"get": operation("docs", "State", "This document, to read", answers(page))},
    }
