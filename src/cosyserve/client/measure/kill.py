"""A worker killed in the middle of a stream, and the time until its successor is ready."""

import asyncio
import os
import signal
from collections.abc import Mapping
from typing import Any

import httpx

from cosyserve.audio.formats import BYTES_PER_SAMPLE
from cosyserve.client.measure import texts
from cosyserve.client.measure.asking import Asker
from cosyserve.client.measure.observer import Observer
from cosyserve.client.measure.plan import Ask
from cosyserve.client.measure.record import Kill
from cosyserve.client.measure.target import MeasureError

TEXT_CHARS = 3000
"""Long enough that the stream is still running on the fastest machine."""
POLL_S = 0.1
BREAKING_S = 30.0
"""For the stream to break after its worker's death, and for its first sound before."""


async def kill_a_worker(asker: Asker, observer: Observer, max_chars: int, patience_s: float) -> Kill:
    """max_chars: of a text. patience_s: for the successor to get ready. Raises httpx.RequestError, MeasureError."""
    text = texts.of_length(min(TEXT_CHARS, max_chars))
    fields = {"text": text, "seed": "1", "format": "pcm", **({"voice": asker.voice} if asker.voice else {})}
    async with asker.target.open(httpx.Timeout(BREAKING_S)) as client:
        async with client.stream("POST", asker.target.speech, data=fields) as answer:
            if answer.status_code != httpx.codes.OK:
                raise MeasureError(f"the stream was answered with {answer.status_code}")
            pieces = answer.aiter_raw()
            heard = len(await anext(pieces, b""))
            victim = _busiest(await observer.info())
            os.kill(victim["pid"], signal.SIGKILL)
            killed_at = asyncio.get_running_loop().time()
            ready = asyncio.create_task(_ready_s(observer, victim, killed_at, patience_s))
            in_stream = False
            try:
                async for piece in pieces:
                    heard += len(piece)
            except httpx.RequestError:
                in_stream = True
            rate_hz = int(answer.headers.get("X-Sample-Rate", 24_000))
        ready_s, note = await ready
    return Kill(
        worker=victim["worker"],
        in_stream=in_stream,
        heard_s=heard / BYTES_PER_SAMPLE / rate_hz,
        ready_s=ready_s,
        first_s=await _first_s(asker, patience_s) if ready_s is not None else None,
        note=note,
    )


def _busiest(info: Mapping[str, Any]) -> dict[str, Any]:
    workers: list[dict[str, Any]] = [worker for worker in info["workers"] if worker["pid"]]
    if not workers:
        raise MeasureError("no worker runs")
    return max(workers, key=lambda worker: worker["running"])


async def _ready_s(
    observer: Observer, victim: Mapping[str, Any], killed_at: float, patience_s: float
) -> tuple[float | None, str]:
    """Seconds since the kill; None, and why, where that never came."""
    loop = asyncio.get_running_loop()
    reason = ""
    while loop.time() < killed_at + patience_s:
        worker = (await observer.info())["workers"][victim["worker"]]
        if worker["state"] == "ready" and worker["pid"] != victim["pid"]:
            return loop.time() - killed_at, ""
        reason = worker["reason"]
        if worker["state"] == "unfit":
            break
        await asyncio.sleep(POLL_S)
    return None, reason


async def _first_s(asker: Asker, patience_s: float) -> float | None:
    """The first audio of the first request to the successor."""
    deadline = asyncio.get_running_loop().time() + patience_s
    async with asker.target.open() as client:
        return (await asker.ask(client, Ask(texts.WARM, seed=1), deadline)).first_s
