"""What the client of a running job is told when the worker's last message has come, or when the worker has died."""

from cosyserve.errors import InvalidPrompt, ServiceError, SynthesisFailed, UnspeakableText, WorkerDied
from cosyserve.pool.job import Job
from cosyserve.protocol import Cancelled, Done, Failed, FailureCode

MAX_RETRIES = 2
"""How often a job whose audio has not reached its listener runs again after its worker died."""


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


def ending_after_death(job: Job) -> ServiceError | None:
    """None where it is to run again: what it was fed is forgotten then. Counts the death."""
    job.deaths += 1
    if not job.sink.rewind():
        return WorkerDied("the worker died while this stream was running")
    if job.deaths > MAX_RETRIES:
        return WorkerDied(f"the worker died under this request {job.deaths} times; it is not tried again")
    return None
