"""A request's body as it comes in: counted, bounded in size and in time, and from a client that goes on sending."""

import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import anyio
import anyio.lowlevel
from starlette.datastructures import Headers
from starlette.requests import Request

from cosyserve.errors import UploadStalled, UploadTooLarge, UploadTooSlow
from cosyserve.speech.intake import Intake

LONG_BYTES = 32 * 1024
"""A body that is longer may take the processor for milliseconds to read: that is a thread's work."""
MAX_TEXT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """max_bytes: of the whole body, and why (`reason`). max_text_bytes: of the texts in a form, all of them together.

    stall_timeout_s: the longest pause in the middle of it. timeout_s: until it is whole.
    """

    max_bytes: int
    stall_timeout_s: float
    timeout_s: float = math.inf
    max_text_bytes: int = MAX_TEXT_BYTES
    reason: str = "server.max_upload_bytes"

    def check(self, size: int) -> None:
        """Raises UploadTooLarge."""
        if size > self.max_bytes:
            raise UploadTooLarge(f"the request is larger than {self.max_bytes} bytes ({self.reason})")

    def without_files(self) -> "BodyLimits":
        """Of a body that has texts alone."""
        if self.max_bytes <= self.max_text_bytes:
            return self
        return replace(self, max_bytes=self.max_text_bytes, reason="of a form that can have no file")


async def read_body(request: Request, limits: BodyLimits, intake: Intake) -> bytearray:
    """All of it. Raises what `stream_body` does."""
    body = bytearray()
    async for chunk in stream_body(request, limits, intake):
        body += chunk
    return body


async def stream_body(request: Request, limits: BodyLimits, intake: Intake) -> AsyncGenerator[bytes, None]:
    """Piece by piece, each of them taken by `intake` before it is handed on.

    Raises UploadTooLarge, before the first piece where the head says so already, UploadStalled, UploadTooSlow, and
    what `Intake.take` does, also where there is no room for the declared length at the beginning.
    """
    declared = declared_length(request.headers)
    limits.check(declared)
    intake.take(declared)
    # What is only announced keeps nobody out for long: a client takes twice what it has sent.
    taken = min(declared, LONG_BYTES)
    intake.take(taken - declared)
    size = 0
    async for chunk in _chunks(request, limits):
        size += len(chunk)
        limits.check(size)
        if size > taken:
            wanted = max(size, min(declared, 2 * size))
            intake.take(wanted - taken)
            taken = wanted
        yield chunk
        # What is there already comes without a wait: without this, reading it would keep everybody else waiting.
        await anyio.lowlevel.checkpoint()


async def _chunks(request: Request, limits: BodyLimits) -> AsyncGenerator[bytes, None]:
    """Raises UploadStalled, UploadTooSlow."""
    body = request.stream()
    ends_at = anyio.current_time() + limits.timeout_s
    while True:
        left_s = ends_at - anyio.current_time()
        # What comes without a wait would not notice a cancellation.
        if left_s <= 0:
            raise UploadTooSlow(_lateness(limits))
        try:
            with anyio.fail_after(min(limits.stall_timeout_s, left_s)):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if left_s <= limits.stall_timeout_s:
                raise UploadTooSlow(_lateness(limits)) from None
            raise UploadStalled(f"nothing of the request's body came for {limits.stall_timeout_s:g} s") from None
        yield chunk


def content_type(headers: Headers) -> str:
    """The media type without its parameters, in lower case; "" where none is told."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def declared_length(headers: Headers) -> int:
    """What the head says of the body's length; 0 where it says nothing."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _lateness(limits: BodyLimits) -> str:
    return f"the request's body was not whole within {limits.timeout_s:g} s (server.body_timeout_s)"
