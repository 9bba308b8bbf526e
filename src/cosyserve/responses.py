"""The answers that are more than a body: streamed speech, and errors."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import structlog
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from cosyserve import events
from cosyserve.audio import BYTES_PER_SAMPLE, check_sample_rate, output_rate
from cosyserve.encoding import encoding
from cosyserve.errors import ListenerGone, ListenerStalled, ServiceError, SynthesisFailed, UnspeakableText
from cosyserve.pool import Admitted, Pool
from cosyserve.requests import SpeechRequest

log = structlog.get_logger(__name__)


def error_response(error: ServiceError) -> JSONResponse:
    """The one shape of every error."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(), error.status, headers)


@dataclass(slots=True)
class _Progress:
    """What the log line of a request says of its answer."""

    started_at: float
    first_chunk_s: float | None = None
    audio_bytes: int = 0
    whole: bool = False


class SpeechResponse:
    """Submits a request when called, and streams its audio as it is made.

    Starlette's StreamingResponse would do neither half of what matters here: under Hypercorn it leaves its iterator
    open on a disconnect, and its status line goes out before the first chunk exists. Here a failure before the first
    chunk is raised, for its true status; one after it ends the connection without the final chunk, so that a client
    can tell half an answer from a whole one. A disconnect, at any moment, cancels the job at once.
    """

    def __init__(self, pool: Pool, speech: SpeechRequest, stall_timeout_s: float) -> None:
        """Raises InvalidField where the format cannot carry the sample rate."""
        check_sample_rate(speech.format, speech.sample_rate)
        self._pool = pool
        self._speech = speech
        self._stall_timeout_s = stall_timeout_s

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises ServiceError before the response starts."""
        admitted = self._pool.submit(self._speech)
        stream, progress = admitted.stream, _Progress(time.monotonic())
        error: ServiceError | None = ListenerGone("the client disconnected")
        with anyio.CancelScope() as speaking:
            stream.interrupt = speaking.cancel
            watcher = asyncio.create_task(_watch_disconnect(receive, speaking.cancel))
            # No await below: under a cancellation it would not run.
            try:
                error = await self._speak(admitted, send, progress)
            except ServiceError as failure:
                failure.param = self._speech.names.of(failure.param)
                error = failure
                raise
            finally:
                error = stream.error or error if not progress.whole else None
                watcher.cancel()
                stream.close()
                self._log(admitted, progress, error)

    async def _speak(self, admitted: Admitted, send: Send, progress: _Progress) -> ServiceError | None:
        """Raises what goes wrong before the response starts, returns what goes wrong after."""
        stream = admitted.stream
        pcm = await stream.take()
        if pcm is None:
            raise UnspeakableText("the text gave no audio", param="text")
        progress.first_chunk_s = time.monotonic() - progress.started_at
        sample_rate = output_rate(self._speech.format, stream.sample_rate, self._speech.sample_rate)
        async with encoding(self._speech.format, stream.sample_rate, sample_rate) as encoder:
            media_type = events.MEDIA_TYPE if self._speech.events else encoder.media_type
            await send(self._start(media_type, sample_rate, admitted.job.request.seed))
            try:
                while pcm is not None:
                    progress.audio_bytes += len(pcm)
                    await self._send(send, self._wrap(await encoder.encode(pcm)))
                    pcm = await stream.take()
                await self._send(send, self._wrap(await encoder.finish()))
                if self._speech.events:
                    audio_s = progress.audio_bytes / BYTES_PER_SAMPLE / stream.sample_rate
                    await self._send(send, events.done_event(len(self._speech.text), audio_s))
            except ServiceError as error:
                return error
            except TimeoutError:
                return ListenerStalled(f"the client read nothing for {self._stall_timeout_s:g} s")
            except Exception:
                log.exception("encoding failed")
                return SynthesisFailed("encoding failed")
        progress.whole = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return None

    def _wrap(self, audio: bytes) -> bytes:
        return events.audio_event(audio) if self._speech.events else audio

    def _start(self, media_type: str, sample_rate: int, seed: int) -> Message:
        headers = {
            "content-type": media_type,
            "cache-control": "no-store",
            "x-accel-buffering": "no",
            "x-sample-rate": str(sample_rate),
            "x-channels": "1",
            "x-synthesis-mode": self._speech.mode,
            "x-seed": str(seed),
        }
        if self._speech.format.lossless:
            headers["x-bits-per-sample"] = str(8 * BYTES_PER_SAMPLE)
        return {
            "type": "http.response.start",
            "status": 200,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }

    async def _send(self, send: Send, body: bytes) -> None:
        if body:
            with anyio.fail_after(self._stall_timeout_s):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            # A send to a client that has gone, or reads as fast as we write, does not wait: without this, a long
            # backlog would keep the disconnect, and all other streams, from being noticed.
            await anyio.lowlevel.checkpoint()

    def _log(self, admitted: Admitted, progress: _Progress, error: ServiceError | None) -> None:
        sample_rate = admitted.stream.sample_rate
        log.info(
            "speech",
            job=admitted.job.id,
            mode=self._speech.mode,
            text_chars=len(self._speech.text),
            queue_wait_s=round(admitted.job.queue_wait_s, 3),
            first_chunk_s=None if progress.first_chunk_s is None else round(progress.first_chunk_s, 3),
            total_s=round(time.monotonic() - progress.started_at, 3),
            audio_s=round(progress.audio_bytes / BYTES_PER_SAMPLE / sample_rate, 3) if sample_rate else 0.0,
            outcome="ok" if error is None else error.code,
            reason=None if error is None else error.message,
        )


async def _watch_disconnect(receive: Receive, stop: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stop()
