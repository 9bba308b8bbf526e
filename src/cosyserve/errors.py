"""Everything a client can be told went wrong: one class a cause, each with its status, code and type.

The shape on the wire is OpenAI's: `{"error": {"message", "type", "code", "param"}}`.
"""

from typing import ClassVar


class ServiceError(Exception):
    """Base of all. param: the form field at fault. retry_after_s: sent as the Retry-After header."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON answer."""
        return {"error": {"message": self.message, "type": self.type, "code": self.code, "param": self.param}}


class RequestRejected(ServiceError):
    """The request is at fault; sending it again unchanged gives the same answer."""

    type = "invalid_request_error"


class InvalidField(RequestRejected):
    """A field is missing, empty or out of range."""

    status = 422
    code = "invalid_field"


class TextTooLong(InvalidField):
    """More characters than `limits.max_text_chars`."""

    code = "text_too_long"


class UnspeakableText(InvalidField):
    """Nothing in the text can be spoken."""

    code = "unspeakable_text"


class InvalidPrompt(InvalidField):
    """The prompt is not usable audio."""

    code = "invalid_prompt"


class MissingPrompt(InvalidField):
    """No prompt was sent and none is configured."""

    code = "missing_prompt"


class UnknownVoice(InvalidField):
    """No voice has the name that the request asks for."""

    code = "unknown_voice"


class InvalidVoiceName(InvalidField):
    """A voice cannot be called that."""

    code = "invalid_voice_name"


class VoiceNotFound(RequestRejected):
    """The path names a voice that is not there."""

    status = 404
    code = "voice_not_found"


class RangeNotSatisfiable(RequestRejected):
    """The range that is asked for begins after the file's end."""

    status = 416
    code = "range_not_satisfiable"


class VoiceExists(RequestRejected):
    """A stored voice has that name, or one too much like it."""

    status = 409
    code = "voice_exists"


class TooManyVoices(RequestRejected):
    """`voices.max_count` are stored."""

    status = 409
    code = "too_many_voices"


class MalformedForm(RequestRejected):
    """The body is not a form, or a broken one."""

    status = 400
    code = "malformed_form"


class MalformedJson(RequestRejected):
    """The body is not JSON, or not an object."""

    status = 400
    code = "malformed_json"


class ModelNotFound(RequestRejected):
    """The path names a model that is not the one here."""

    status = 404
    code = "model_not_found"


class MalformedMessage(RequestRejected):
    """A WebSocket message that is not one of the session's."""

    status = 400
    code = "malformed_message"


class ForbiddenOrigin(RequestRejected):
    """A web page that is not in `server.cors_origins` tried to open a WebSocket."""

    status = 403
    code = "forbidden_origin"


class UploadTooLarge(RequestRejected):
    """The body is over `server.max_upload_bytes`, or needs more than `limits.max_pending_bytes` by itself."""

    status = 413
    code = "upload_too_large"


class UploadStalled(RequestRejected):
    """The client stopped in the middle of its body."""

    status = 408
    code = "upload_stalled"


class UploadTooSlow(RequestRejected):
    """The body was not whole within `server.body_timeout_s`."""

    status = 408
    code = "upload_too_slow"


class Unauthorized(RequestRejected):
    """No API key, or a wrong one."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class TooManyAtOnce(RequestRejected):
    """The API key has `limits.max_concurrency_per_key` requests under way; others may still find room."""

    status = 429
    code = "too_many_at_once"
    type = "rate_limit_error"
    retry_after_s = 1


class TooMuchPending(RequestRejected):
    """The API key's requests hold `limits.max_pending_bytes_per_key`; others may still find room."""

    status = 429
    code = "too_much_pending"
    type = "rate_limit_error"
    retry_after_s = 1


class TooManyUtterances(RequestRejected):
    """The WebSocket session has too many utterances that are not over."""

    status = 429
    code = "too_many_utterances"
    type = "rate_limit_error"
    retry_after_s = 1


class Unavailable(ServiceError):
    """The service cannot take the request now; the same request may succeed later."""

    status = 503
    type = "overloaded_error"
    retry_after_s = 5


class LineFull(Unavailable):
    """`limits.max_concurrency` streams run and `limits.max_waiting` requests wait."""

    code = "overloaded"
    retry_after_s = 2


class PendingFull(Unavailable):
    """What all clients have handed in together has reached `limits.max_pending_bytes`."""

    code = "pending_full"
    retry_after_s = 2


class TooManyConnections(Unavailable):
    """`server.max_connections` or, of WebSocket sessions, `websocket.max_connections` are open."""

    code = "too_many_connections"
    retry_after_s = 5


class WaitedTooLong(Unavailable):
    """No stream came free within `limits.wait_timeout_s`."""

    code = "wait_timeout"
    retry_after_s = 5


class NoWorker(Unavailable):
    """No worker is ready: they are starting, or they cannot start."""

    code = "no_worker"
    retry_after_s = 10


class HelpersBusy(Unavailable):
    """More recordings wait to be decoded than there is patience for."""

    code = "decoding_busy"
    retry_after_s = 2


class NoHelper(Unavailable):
    """No process can be started for decoding: the machine is out of descriptors, processes or memory."""

    code = "no_decoder"
    retry_after_s = 5


class VoicesUnreachable(Unavailable):
    """The store that `voices.url` or `voices.dir` names gives no answer; voices that were read before still speak."""

    code = "voices_unreachable"
    retry_after_s = 5


class Stopping(Unavailable):
    """The service was told to stop."""

    code = "stopping"
    retry_after_s = 10


class SessionIdle(ServiceError):
    """The client was silent for `websocket.idle_timeout_s` while there was nothing to speak."""

    status = 408
    code = "idle_timeout"
    type = "invalid_request_error"


class SynthesisFailed(ServiceError):
    """The engine raised, or the worker died under the job."""

    code = "synthesis_failed"


class WorkerDied(SynthesisFailed):
    """The worker process died under the job."""

    code = "worker_died"


class UnreadableVoice(ServiceError):
    """A stored voice's file has come to harm."""

    code = "unreadable_voice"


class StorageFailed(ServiceError):
    """The disk is full, or the service may not write there."""

    status = 507
    code = "storage_failed"


class Overdue(ServiceError):
    """No audio came in time."""

    status = 504
    code = "audio_overdue"


class ListenerError(ServiceError):
    """The client's side gave out; there is nobody to tell, so this goes to the log alone."""

    code = "listener_lost"


class ListenerStalled(ListenerError):
    """The client read nothing for `server.client_stall_timeout_s`, or its backlog outgrew the service's buffers."""

    code = "listener_stalled"


class ListenerInterrupted(ListenerError):
    """The client said input.cancel."""

    code = "interrupted"


class ListenerGone(ListenerError):
    """The client disconnected."""

    code = "listener_gone"
