"""What the service tells of itself: /health, /model_info and /metrics."""

import asyncio
from typing import Any

import httpx

from cosyserve.client.measure.counters import REQUESTS, Counted, parse, total
from cosyserve.client.measure.target import MeasureError, Target

SETTLING_S, POLL_S = 5.0, 0.05
"""A request is counted when the service is done with it, which is a moment after its listener has heard the end."""


class Observer:
    """Asks on a connection of its own."""

    def __init__(self, client: httpx.AsyncClient, target: Target) -> None:
        self._client = client
        self._base, self._shown = target.base, target.shown

    async def health(self) -> str:
        """The status that /health tells; "" where nobody answers."""
        try:
            return str((await self._client.get(f"{self._base}/health")).json()["status"])
        except (httpx.RequestError, ValueError, KeyError, TypeError):
            return ""

    async def info(self) -> dict[str, Any]:
        """What /model_info tells. Raises MeasureError where it is refused or is no cosyserve's."""
        try:
            answer = await self._client.get(f"{self._base}/model_info")
            told = answer.json()
        except (httpx.RequestError, ValueError) as error:
            raise MeasureError(f"{self._shown}/model_info gives no answer of cosyserve's: {error}") from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise MeasureError(f"{self._shown} wants a key: give it as $COSYSERVE_API_KEY")
        if answer.status_code != httpx.codes.OK or not isinstance(told, dict):
            raise MeasureError(f"{self._shown}/model_info answers {answer.status_code}: is it a cosyserve server?")
        return told

    async def counted(self) -> Counted | None:
        """What /metrics has; None where there is none to be had."""
        try:
            answer = await self._client.get(f"{self._base}/metrics", headers={"Accept": "text/plain"})
            return parse(answer.text) if answer.status_code == httpx.codes.OK else None
        except (httpx.RequestError, ValueError):
            return None

    async def settled(self, before: Counted, requests: int) -> Counted | None:
        """What has grown since, once so many requests are counted and none is under way; or soon, as it is."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + SETTLING_S
        while (now := await self.counted()) is not None:
            grown = now.since(before)
            done = total(grown.counters, REQUESTS) >= requests and not total(now.gauges, "cosyserve_running")
            if done or loop.time() > give_up_at:
                return grown
            await asyncio.sleep(POLL_S)
        return None
