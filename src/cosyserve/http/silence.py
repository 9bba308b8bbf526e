"""A moment of silence, for clients to whom an error says that the conversation is over: agents send every sentence."""

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cosyserve.audio.encoding import encoding
from cosyserve.audio.formats import BYTES_PER_SAMPLE, check_sample_rate, output_rate
from cosyserve.errors import UnspeakableText
from cosyserve.http import events
from cosyserve.speech.requests import Draft
from cosyserve.watch.lines import RequestLine

SILENCE_S = 0.2


class Silence:
    """The answer to a text in which there is nothing to say: SILENCE_S, as the request wants its audio.

    model_rate: Hz of the answer where the request does not say.
    """

    def __init__(self, draft: Draft, model_rate: int) -> None:
        """Raises InvalidField where the format cannot carry the sample rate."""
        check_sample_rate(draft.format, draft.sample_rate)
        self._draft = draft
        self._model_rate = model_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        RequestLine.of(scope).add(unspeakable=True)
        draft, model_rate = self._draft, self._model_rate
        rate = output_rate(draft.format, model_rate, draft.sample_rate)
        async with encoding(draft.format, model_rate, rate) as encoder:
            silence = bytes(round(SILENCE_S * model_rate) * BYTES_PER_SAMPLE)
            body, media_type = await encoder.encode(silence) + await encoder.finish(), encoder.media_type
        if draft.events:
            media_type = events.MEDIA_TYPE
            body = events.audio_event(body) + events.done_event(len(draft.text), SILENCE_S)
        await Response(body, headers=self._headers(media_type, rate))(scope, receive, send)

    def _headers(self, media_type: str, rate: int) -> dict[str, str]:
        lossless = {"X-Bits-Per-Sample": str(8 * BYTES_PER_SAMPLE)} if self._draft.format.lossless else {}
        return {
            "Content-Type": media_type,
            "Cache-Control": "no-store",
            "X-Sample-Rate": str(rate),
            "X-Channels": "1",
            "X-Unspeakable": "true",
            **lossless,
        }


class OrSilence:
    """Another answer, or silence where the engine finds that there is nothing to say."""

    def __init__(self, answer: ASGIApp, silence: Silence) -> None:
        self._answer = answer
        self._silence = silence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises what the other answer does before it starts."""
        try:
            await self._answer(scope, receive, send)
        except UnspeakableText:
            await self._silence(scope, receive, send)
