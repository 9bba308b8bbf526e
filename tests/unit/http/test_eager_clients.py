"""Clients that never pause: what has a time ends in time, though nothing that reads from them ever waits for long."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from cosyserve.errors import UploadTooSlow
from cosyserve.http import middleware
from cosyserve.http.bodies import BodyLimits, read_body
from cosyserve.http.middleware import LingeringClose
from cosyserve.speech.intake import Intake, IntakeBudget

SCOPE: Scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {}}
PATIENCE_S = 0.05
FAR_TOO_LONG_S = 20
"""A guard for the whole test run: what is not mended goes on for ever."""


def beside_a_client(run: Callable[[Receive], Awaitable[None]]) -> None:
    """`run`, while a client sends a byte on each turn of the loop: whoever reads has the next when it asks for it."""

    async def both() -> None:
        mailbox = asyncio.Queue[Message](10)

        async def pour() -> None:
            while True:
                await mailbox.put({"type": "http.request", "body": b"x", "more_body": True})
                await asyncio.sleep(0)

        async with asyncio.timeout(FAR_TOO_LONG_S):
            client = asyncio.create_task(pour())
            await run(mailbox.get)
        client.cancel()

    asyncio.run(both())


def test_a_body_has_its_time() -> None:
    async def read(receive: Receive) -> None:
        limits = BodyLimits(1 << 30, stall_timeout_s=10, timeout_s=PATIENCE_S)
        with pytest.raises(UploadTooSlow):
            await read_body(Request(SCOPE, receive), limits, Intake(IntakeBudget(1 << 30), None))

    beside_a_client(read)


def test_one_that_was_refused_is_read_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "LINGER_S", PATIENCE_S)

    async def refuse(receive: Receive) -> None:
        whole = anyio.Event()

        async def app(_: Scope, __: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 413, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                whole.set()

        async def receive_or_end() -> Message:
            return {"type": "http.disconnect"} if whole.is_set() else await receive()

        await LingeringClose(app)(SCOPE, receive_or_end, send)
        assert whole.is_set()

    beside_a_client(refuse)
