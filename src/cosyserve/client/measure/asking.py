"""One request as a listener has it: when its sound came, and whether it ran dry."""

import asyncio
import json
import time
from dataclasses import dataclass, field

import httpx

from cosyserve.audio.formats import BYTES_PER_SAMPLE
from cosyserve.audio.pace import Pace
from cosyserve.client.measure.plan import Ask
from cosyserve.client.measure.record import Outcome, Run
from cosyserve.client.measure.recordings import Recordings
from cosyserve.client.measure.target import Target

FULL = frozenset({httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS})
"""What a service says that has no room: counted, no fault."""
SENT = "http11.send_request_body.complete"
"""httpcore's word for it: the last byte of the request has been handed to the kernel."""

Parts = list[tuple[str, tuple[str | None, bytes]]]


@dataclass(frozen=True, slots=True)
class Asker:
    """Makes requests. voice: the known one's name, "" the configured. instruction: what the new ones are given."""

    target: Target
    recordings: Recordings
    voice: str = ""
    instruction: str = ""

    async def ask(self, client: httpx.AsyncClient, ask: Ask, deadline: float) -> Run:
        """Ask, and listen until the end or the deadline (the loop's clock)."""
        listening = _Listening(ask)
        try:
            async with asyncio.timeout_at(deadline):
                await self._listen(client, ask, listening)
        except TimeoutError:
            return listening.over(Outcome.CUT, "out_of_time", "the time that was given was over")
        except httpx.RequestError as error:
            code = "broken_off" if listening.headers else "no_answer"
            return listening.over(Outcome.FAILED, code, str(error) or type(error).__name__)
        if listening.refusal:
            return listening.over(*listening.refusal)
        if not listening.pace.audio_s:
            return listening.over(Outcome.FAILED, "no_audio", "the answer was empty")
        return listening.over(Outcome.WHOLE, "ok", "")

    async def _listen(self, client: httpx.AsyncClient, ask: Ask, listening: "_Listening") -> None:
        request = client.build_request("POST", self.target.speech, files=self._form(ask))
        request.extensions["trace"] = listening.trace
        answer = await client.send(request, stream=True)
        try:
            listening.headers = answer.headers
            listening.refusal = await _refusal(answer)
            if listening.refusal is None:
                async for piece in answer.aiter_raw():
                    listening.hear(piece)
        finally:
            await answer.aclose()

    def _form(self, ask: Ask) -> Parts:
        fields = {"text": ask.text, "seed": str(ask.seed), "format": "pcm"}
        if ask.recording is None:
            fields |= {"voice": self.voice} if self.voice else {}
            return _texts(fields)
        # With the instruction that the configured voice has, both are spoken in the same mode.
        fields |= {"instruction": self.instruction} if self.instruction else {}
        recording = self.recordings[ask.recording]
        return [*_texts(fields), ("prompt_wav", (f"voice{ask.recording}.wav", recording))]


@dataclass(slots=True)
class _Listening:
    """What has been heard of an answer so far."""

    ask: Ask
    sent_at: float = field(default_factory=time.perf_counter)
    pace: Pace = field(default_factory=lambda: Pace(0))
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    size: int = 0
    refusal: tuple[Outcome, str, str] | None = None

    async def trace(self, event: str, _: object) -> None:
        """Told by httpcore of each step of the request."""
        if event == SENT:
            self.sent_at = time.perf_counter()

    def hear(self, piece: bytes) -> None:
        """A piece of sound has come."""
        if piece:
            self.size += len(piece)
            rate = self.headers.get("X-Sample-Rate", "")
            rate_hz = int(rate) if rate.isdecimal() and int(rate) else 24_000
            self.pace.feed(time.perf_counter(), len(piece) / BYTES_PER_SAMPLE / rate_hz)

    def over(self, outcome: Outcome, code: str, message: str) -> Run:
        """It is at its end."""
        first_at = self.pace.first_at
        return Run(
            request_id=self.headers.get("X-Request-Id", ""),
            text_chars=len(self.ask.text),
            outcome=outcome,
            code=code,
            message=message,
            first_s=None if first_at is None else first_at - self.sent_at,
            total_s=time.perf_counter() - self.sent_at,
            audio_bytes=self.size,
            audio_s=self.pace.audio_s,
            underruns=self.pace.underruns,
            silence_s=self.pace.stalled_s,
        )


def _texts(fields: dict[str, str]) -> Parts:
    return [(name, (None, value.encode())) for name, value in fields.items()]


async def _refusal(answer: httpx.Response) -> tuple[Outcome, str, str] | None:
    """How it ended and the error's code and message; None where sound follows."""
    if answer.status_code == httpx.codes.OK and answer.headers.get("Content-Type", "").startswith("audio/"):
        return None
    outcome = Outcome.REFUSED if answer.status_code in FULL else Outcome.FAILED
    try:
        error = json.loads(await answer.aread())["error"]
        return outcome, str(error["code"]), f"{answer.status_code}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        kind = answer.headers.get("Content-Type", "nothing known")
        return outcome, f"status_{answer.status_code}", f"{answer.status_code}, {kind}: not a cosyserve server's answer"
