"""What the client of a running job is told when the worker's last message has come."""

from cosyserve.errors import InvalidPrompt, ServiceError, SynthesisFailed, UnspeakableText
from cosyserve.protocol import Cancelled, Done, Failed, FailureCode


def ending_of(message: Done | Failed | Cancelled) -> ServiceError | None:
    """None where all went well."""
    match message:
        case Done():
            return None
        case Cancelled():
            return SynthesisFailed("the worker gave the request up")
        case Failed(code=FailureCode.UNSPEAKABLE_TEXT):
            return UnspeakableText(message.message, param="text")
        case Failed(code=FailureCode.INVALID_PROMPT):
            return InvalidPrompt(message.message, param="prompt_wav")
        case Failed():
            return SynthesisFailed(message.message)
