"""The answers that are more than a body: streamed speech, and errors."""

import asyncio
from collections.abc import Callable

import anyio
import structlog
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from cosyserve.audio.encoding import Encoding, encoding
from cosyserve.audio.formats import BYTES_PER_SAMPLE, check_sample_rate, output_rate
from cosyserve.errors import ListenerGone, ListenerStalled, ServiceError, SynthesisFailed
from cosyserve.http import events
from cosyserve.http.patience import Patience
from cosyserve.http.transport.straight import Straight
from cosyserve.pool.seam import SpeechPool
from cosyserve.pool.streams import AudioStream, Taker, declined
from cosyserve.speech.requests import SpeechRequest
from cosyserve.watch.lines import RequestLine
from cosyserve.watch.reports import SPEECH, Origin, Report, Reporter
from cosyserve.watch.spans import current

log = structlog.get_logger(__name__)


class ErrorResponse(JSONResponse):
    """The one shape of every error, counted wherever it comes from."""

    def __init__(self, error: ServiceError) -> None:
        headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(error.body(), error.status, headers)
        self._code = error.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        RequestLine.of(scope).code = self._code
        if "app" in scope:
            reporter: Reporter = scope["app"].state.service.reporter
            reporter.metrics.error_answers.labels(self.status_code, self._code).inc()
        await super().__call__(scope, receive, send)


class Unheard(Response):
    """To a client that has gone: nothing is sent, and nothing counted as an error of anybody's."""

    async def __call__(self, scope: Scope, _: Receive, __: Send) -> None:
        """ASGI."""
        RequestLine.of(scope).code = ListenerGone.code


def error_response(error: ServiceError) -> ErrorResponse:
    """The answer to a request that failed before anything was sent."""
    return ErrorResponse(error)


class SpeechResponse:
    """Submits a request when called, and streams its audio as it is made.

    Starlette's StreamingResponse would do neither half of what matters here: under Hypercorn it leaves its iterator
    open on a disconnect, and its status line goes out before the first chunk exists. Here a failure before the first
    chunk is raised, for its true status; one after it ends the connection without the final chunk, so that a client
    can tell half an answer from a whole one. A disconnect, at any moment, cancels the job at once.
    """

    def __init__(self, pool: SpeechPool, reporter: Reporter, speech: SpeechRequest, stall_timeout_s: float) -> None:
        """Raises InvalidField where the format cannot carry the sample rate."""
        check_sample_rate(speech.format, speech.sample_rate)
        self._pool = pool
        self._reporter = reporter
        self._speech = speech
        self._stall_timeout_s = stall_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises ServiceError before the response starts."""
        origin, span = Origin.of(scope), current().child(SPEECH)
        try:
            admitted = self._pool.submit(self._speech, span.trace)
        except ServiceError as refusal:
            span.end({}, refusal.code)
            self._reporter.refused(origin, self._speech, refusal)
            raise
        stream = admitted.stream
        report = self._reporter.begin(origin, self._speech, admitted, span)
        patience = Patience(self._stall_timeout_s, lambda: stream.cut_off(self._stalled()))
        error: ServiceError | None = ListenerGone("the client disconnected")
        with anyio.CancelScope() as speaking:
            stream.interrupt = speaking.cancel
            watcher = asyncio.create_task(_watch_disconnect(receive, speaking.cancel))
            # No await below: under a cancellation it would not run.
            try:
                way = Straight.of(scope)
                error = await self._speak(stream, admitted.ticket.seed, _patient(send, patience), report, way)
            except ServiceError as failure:
                failure.param = self._speech.names.of(failure.param)
                error = failure
                raise
            finally:
                watcher.cancel()
                patience.close()
                stream.close()
                _note(scope, report, None if report.whole else stream.error or error)

    async def _speak(
        self, stream: AudioStream, seed: int, send: Send, report: Report, way: Straight | None
    ) -> ServiceError | None:
        """Raises what goes wrong before the response starts, returns what goes wrong after."""
        pcm = await stream.take()
        if pcm is None:
            raise SynthesisFailed("the engine made no audio of this text")
        sample_rate = output_rate(self._speech.format, stream.sample_rate, self._speech.sample_rate)
        async with encoding(self._speech.format, stream.sample_rate, sample_rate) as encoder:
            media_type = events.MEDIA_TYPE if self._speech.events else encoder.media_type
            await send(self._start(media_type, sample_rate, seed))
            at_once = declined if way is None else self._sending(way, stream, encoder, report)
            try:
                while pcm is not None:
                    report.took(pcm)
                    await _send_body(send, self._wrap(await encoder.encode(pcm)))
                    pcm = await stream.take(at_once)
                await _send_body(send, self._wrap(await encoder.finish()))
                if self._speech.events:
                    await _send_body(send, events.done_event(len(self._speech.text), report.audio_s))
            except ServiceError as error:
                return error
            except Exception:
                log.exception("encoding failed")
                return SynthesisFailed("encoding failed")
        report.whole = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return None

    def _sending(self, way: Straight, stream: AudioStream, encoder: Encoding, report: Report) -> Taker:
        """Sends a piece as it comes from the worker, while the client reads as fast: nothing is woken for it."""
        encode = encoder.at_once
        if encode is None:
            return declined

        def send(pcm: bytes) -> bool:
            if not way.clear:
                return False
            report.took(pcm)
            try:
                way.send(self._wrap(encode(pcm)))
            except Exception:
                log.exception("encoding failed")
                stream.end(SynthesisFailed("encoding failed"))
            return True

        return send

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

    def _stalled(self) -> ListenerStalled:
        return ListenerStalled(f"the client read nothing for {self._stall_timeout_s:g} s")


def _patient(send: Send, patience: Patience) -> Send:
    async def patient_send(message: Message) -> None:
        with patience:
            await send(message)

    return patient_send


async def _send_body(send: Send, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})


def _note(scope: Scope, report: Report, error: ServiceError | None) -> None:
    line = RequestLine.of(scope)
    line.code = None if error is None else error.code
    line.become("speech", report.ended(error))


async def _watch_disconnect(receive: Receive, stop: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stop()
