"""Mailboxes: whoever waits for room in one is let go when nobody reads it any more."""

import asyncio

from hypercorn.typing import HTTPRequestEvent

from cosyserve.http.transport.tasks import Mailbox

PIECE: HTTPRequestEvent = {"type": "http.request", "body": b"x", "more_body": True}


def test_a_full_one_makes_wait_until_something_is_taken() -> None:
    async def run() -> None:
        mailbox = Mailbox(1)
        await mailbox.put(PIECE)
        waiting = asyncio.create_task(mailbox.put(PIECE))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert await mailbox.take() == PIECE
        await waiting

    asyncio.run(run())


def test_a_closed_one_lets_everybody_go() -> None:
    async def run() -> None:
        mailbox = Mailbox(1)
        await mailbox.put(PIECE)
        waiting = asyncio.create_task(mailbox.put(PIECE))
        await asyncio.sleep(0)
        mailbox.close()
        await waiting
        for _ in range(3):
            await mailbox.put(PIECE)

    asyncio.run(run())
