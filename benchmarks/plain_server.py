"""What a short script makes of streaming, for `benchmarks.streams`: Starlette's StreamingResponse on uvicorn.

It makes the pieces itself, in its event loop: no worker, no queue, and nothing checked.
"""

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

SAMPLE_RATE = 24_000


async def pieces(piece_ms: int, seconds: int) -> AsyncIterator[bytes]:
    """16-bit mono, each piece at its time."""
    loop = asyncio.get_running_loop()
    piece = bytes(2 * SAMPLE_RATE * piece_ms // 1000)
    began_at = loop.time()
    for number in range(1000 * seconds // piece_ms):
        await asyncio.sleep(max(0.0, began_at + number * piece_ms / 1000 - loop.time()))
        yield piece


async def speech(request: Request) -> Response:
    """Takes what the server of this project takes."""
    piece_ms, seconds = map(int, json.loads(await request.body())["input"].split())
    return StreamingResponse(pieces(piece_ms, seconds), media_type="audio/pcm")


app = Starlette(routes=[Route("/v1/audio/speech", speech, methods=["POST"])])
