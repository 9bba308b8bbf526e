"""From a request for speech to what a worker is told of it."""

import secrets

from cosyserve.protocol import Synthesize, Trace
from cosyserve.speech.requests import SpeechRequest

SEEDS = 2**31


def order_of(request: SpeechRequest, job_id: int, trace: Trace | None) -> Synthesize:
    """The message of its job; the seed is drawn where the request has none. trace: goes to the worker."""
    return Synthesize(
        job_id=job_id,
        text=request.marked_text,
        mode=request.mode,
        instruction=request.instruction,
        prompt_text=request.prompt_text,
        prompt=request.prompt,
        speed=request.speed,
        seed=secrets.randbelow(SEEDS) if request.seed is None else request.seed,
        language=request.language,
        pronunciations=request.pronunciations,
        trace=trace,
    )
