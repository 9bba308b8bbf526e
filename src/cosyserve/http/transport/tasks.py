"""The application's side of a connection: its tasks, and the mailboxes that what a client sends comes through."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent
from hypercorn.typing import Scope as HypercornScope
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

HypercornSend = Callable[[ASGISendEvent | None], Awaitable[None]]

log = structlog.get_logger(__name__)

KEPT_MESSAGES = 2
"""Each may be as long as a message can be, and is counted in no budget until the application takes it."""


class Mailbox:
    """Whoever puts waits while it is full, but not for an application that has returned: nobody takes anything out."""

    def __init__(self, size: int) -> None:
        self._messages: asyncio.Queue[ASGIReceiveEvent] = asyncio.Queue(size)
        self._open = True

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Messages to a closed one are thrown away."""
        if self._open:
            await self._messages.put(message)

    async def take(self) -> ASGIReceiveEvent:
        """The next one."""
        return await self._messages.get()

    def close(self) -> None:
        """Let everybody go who waits to put."""
        self._open = False
        while not self._messages.empty():
            self._messages.get_nowait()


class Tasks(TaskGroup):
    """Hypercorn's, with mailboxes that close. An application's exception is told as every other of ours."""

    async def spawn_app(
        self, app: AppWrapper, _: Config, scope: HypercornScope, send: HypercornSend
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Called by Hypercorn."""
        mailbox = Mailbox(KEPT_MESSAGES)
        self.spawn(_run, app, scope, mailbox, send)
        return mailbox.put


async def _run(app: AppWrapper, scope: Any, mailbox: Mailbox, send: HypercornSend) -> None:
    try:
        await cast(ASGIApp, app)(scope, cast(Any, mailbox.take), cast(Any, send))
    except ClientDisconnect:
        pass
    except Exception:
        log.exception("a bug in the server")
    finally:
        mailbox.close()
        await send(None)
