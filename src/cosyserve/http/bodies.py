"""A request's body as it comes in: bounded in size, and from a client that goes on sending."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request

from cosyserve.errors import UploadStalled, UploadTooLarge


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """max_bytes: of the whole body. stall_timeout_s: the longest pause in the middle of it."""

    max_bytes: int
    stall_timeout_s: float


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """All of it. Raises UploadTooLarge before it is read whole, UploadStalled."""
    return b"".join([chunk async for chunk in stream_body(request, limits)])


async def stream_body(request: Request, limits: BodyLimits) -> AsyncGenerator[bytes, None]:
    """Piece by piece. Raises UploadTooLarge, before the first piece where the head says so already, UploadStalled."""
    check_declared_length(request.headers, limits.max_bytes)
    body = request.stream()
    size = 0
    while True:
        try:
            with anyio.fail_after(limits.stall_timeout_s):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadStalled(f"nothing of the request's body came for {limits.stall_timeout_s:g} s") from None
        size += len(chunk)
        if size > limits.max_bytes:
            raise _too_large(limits.max_bytes)
        yield chunk


def content_type(headers: Headers) -> str:
    """The media type without its parameters, in lower case; "" where none is told."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def check_declared_length(headers: Headers, max_bytes: int) -> None:
    """Raises UploadTooLarge where the request's head says that the body will be."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(f"the request is larger than {max_bytes} bytes (server.max_upload_bytes)")
