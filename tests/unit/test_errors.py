"""The error tree: every class has a place in the table of the HTTP contract."""

import json
from collections.abc import Iterator

import pytest

from cosyserve import errors
from cosyserve.errors import ServiceError
from cosyserve.http.responses import error_response

TABLE = {
    "ServiceError": (500, "internal_error", "server_error"),
    "RequestRejected": (500, "internal_error", "invalid_request_error"),
    "InvalidField": (422, "invalid_field", "invalid_request_error"),
    "TextTooLong": (422, "text_too_long", "invalid_request_error"),
    "UnspeakableText": (422, "unspeakable_text", "invalid_request_error"),
    "InvalidPrompt": (422, "invalid_prompt", "invalid_request_error"),
    "MissingPrompt": (422, "missing_prompt", "invalid_request_error"),
    "UnknownVoice": (422, "unknown_voice", "invalid_request_error"),
    "InvalidVoiceName": (422, "invalid_voice_name", "invalid_request_error"),
    "VoiceNotFound": (404, "voice_not_found", "invalid_request_error"),
    "RangeNotSatisfiable": (416, "range_not_satisfiable", "invalid_request_error"),
    "VoiceExists": (409, "voice_exists", "invalid_request_error"),
    "TooManyVoices": (409, "too_many_voices", "invalid_request_error"),
    "MalformedForm": (400, "malformed_form", "invalid_request_error"),
    "MalformedJson": (400, "malformed_json", "invalid_request_error"),
    "ModelNotFound": (404, "model_not_found", "invalid_request_error"),
    "UploadTooLarge": (413, "upload_too_large", "invalid_request_error"),
    "UploadStalled": (408, "upload_stalled", "invalid_request_error"),
    "MalformedMessage": (400, "malformed_message", "invalid_request_error"),
    "SessionIdle": (408, "idle_timeout", "invalid_request_error"),
    "ForbiddenOrigin": (403, "forbidden_origin", "invalid_request_error"),
    "TooManyConnections": (503, "too_many_connections", "overloaded_error"),
    "ListenerInterrupted": (500, "interrupted", "server_error"),
    "Unauthorized": (401, "invalid_api_key", "authentication_error"),
    "TooManyAtOnce": (429, "too_many_at_once", "rate_limit_error"),
    "UploadTooSlow": (408, "upload_too_slow", "invalid_request_error"),
    "TooMuchPending": (429, "too_much_pending", "rate_limit_error"),
    "TooManyUtterances": (429, "too_many_utterances", "rate_limit_error"),
    "PendingFull": (503, "pending_full", "overloaded_error"),
    "Unavailable": (503, "internal_error", "overloaded_error"),
    "LineFull": (503, "overloaded", "overloaded_error"),
    "WaitedTooLong": (503, "wait_timeout", "overloaded_error"),
    "NoWorker": (503, "no_worker", "overloaded_error"),
    "HelpersBusy": (503, "decoding_busy", "overloaded_error"),
    "NoHelper": (503, "no_decoder", "overloaded_error"),
    "VoicesUnreachable": (503, "voices_unreachable", "overloaded_error"),
    "Stopping": (503, "stopping", "overloaded_error"),
    "SynthesisFailed": (500, "synthesis_failed", "server_error"),
    "WorkerDied": (500, "worker_died", "server_error"),
    "UnreadableVoice": (500, "unreadable_voice", "server_error"),
    "StorageFailed": (507, "storage_failed", "server_error"),
    "Overdue": (504, "audio_overdue", "server_error"),
    "ListenerError": (500, "listener_lost", "server_error"),
    "ListenerStalled": (500, "listener_stalled", "server_error"),
    "ListenerGone": (500, "listener_gone", "server_error"),
}


def tree(root: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


CLASSES = [kind for kind in tree(ServiceError) if kind.__module__ == errors.__name__]
BASES = {"RequestRejected", "Unavailable"}
"""Never raised themselves."""


def test_the_table_is_whole() -> None:
    assert {kind.__name__: (kind.status, kind.code, kind.type) for kind in CLASSES} == TABLE


def test_each_code_means_one_thing() -> None:
    codes = [kind.code for kind in CLASSES if kind.__name__ not in BASES]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", CLASSES)
def test_answer(kind: type[ServiceError]) -> None:
    answer = error_response(kind("what and why", param="text"))
    assert answer.status_code == kind.status
    assert json.loads(bytes(answer.body)) == {
        "error": {"message": "what and why", "type": kind.type, "code": kind.code, "param": "text"}
    }
    assert ("retry-after" in answer.headers) == (kind.status in {429, 503})
    assert ("www-authenticate" in answer.headers) == (kind.status == 401)


def test_message_and_param() -> None:
    error = errors.InvalidField("it is wrong", param="speed")
    assert (str(error), error.message, error.param) == ("it is wrong", "it is wrong", "speed")
    assert errors.LineFull("full").body()["error"]["param"] is None
