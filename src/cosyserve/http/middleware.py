"""What every request passes through: its id and its line, the key check, and a close that lets it read its answer."""

import math
import re
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import structlog
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cosyserve.errors import ServiceError, TooManyAtOnce, Unauthorized
from cosyserve.http.access import Keyring, sent_key
from cosyserve.http.page_files import PAGE_FILES
from cosyserve.http.peers import Peers
from cosyserve.http.responses import error_response
from cosyserve.speech.intake import IntakeBudget
from cosyserve.watch.lines import RequestLine

OPEN_PATHS = frozenset({"/health", "/health/live", "/docs", "/openapi.json", *PAGE_FILES})
"""What orchestrators ask, which have no key, what tells newcomers how to use one, and the page that asks for it."""
PUBLIC_PATHS = frozenset({"/v1/models", "/v1/audio/models", "/v1/audio/voices"})
"""What may be read without a key where `server.public_names` says so."""
READING = frozenset({"GET", "HEAD"})
CONNECTIONS = frozenset({"http", "websocket"})
ANSWERS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
SWITCHING_PROTOCOLS = 101
LINGER_BYTES = 64 * 1024 * 1024
LINGER_S = 10.0
_BUG = ServiceError("an internal error; the server's log has the details under this request id")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.get_logger(__name__)


class PlainPath:
    """Takes the slash off a path's end: a route answers with one as it does without, and nobody is sent elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] in CONNECTIONS:
            scope["path"] = scope["path"].removesuffix("/") or "/"
        await self._app(scope, receive, send)


class RequestId:
    """Takes the client's X-Request-Id, or makes one; every answer and every log line of the request has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in CONNECTIONS:
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] in ANSWERS:
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, send_with_id)


class Telling:
    """Gives each request its line in the log, and deals with bugs.

    Further out, neither a bug's answer nor its trace in the log would have the request's id.
    """

    def __init__(self, app: ASGIApp, peers: Peers) -> None:
        self._app = app
        self._peers = peers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in CONNECTIONS:
            await self._app(scope, receive, send)
            return
        line = RequestLine(self._peers.of(scope))
        scope["state"] = {**scope.get("state", {}), "line": line}

        async def noting_send(message: Message) -> None:
            if message["type"] in ANSWERS:
                line.status = message.get("status", SWITCHING_PROTOCOLS)
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception:
            log.exception("a bug in the server")
            line.code = _BUG.code
            if line.status is None:
                await error_response(_BUG)(scope, receive, noting_send)
        finally:
            line.tell(scope)


class LingeringClose:
    """Reads on for a while after an answer that came before the request's body did.

    Closing with unread data resets the connection, and the client, still sending, never sees why it was refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body_read = False

        async def tracked_receive() -> Message:
            nonlocal body_read
            message = await receive()
            body_read = body_read or message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def read_on(most: float = math.inf) -> None:
            while not body_read and most > 0:
                most -= len((await tracked_receive()).get("body", b""))
                # A message that is there already comes without a wait, and a cancellation only reaches who waits.
                await anyio.lowlevel.checkpoint()

        async def lingering_send(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not last or body_read:
                await send(message)
                return
            await send({**message, "more_body": True})
            with anyio.move_on_after(LINGER_S):
                await read_on(LINGER_BYTES)
            async with anyio.create_task_group() as closing:
                # The end puts a last message on the queue that the body fills: somebody has to read until it comes.
                closing.start_soon(read_on)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, tracked_receive, lingering_send)


@dataclass(frozen=True, slots=True)
class Shares:
    """paths: where a key's requests are counted. most: so many of one key may be under way at once; 0: any number."""

    paths: Collection[str] = ()
    most: int = 0
    under_way: Counter[str] = field(default_factory=Counter)
    """By the key's name."""


class Gate:
    """Turns away what must not reach a route: strangers where keys are configured, and a key's excess.

    keys: who may come in; an empty ring lets everybody. shares: how much one key may have. public_names: whether
    PUBLIC_PATHS may be read without a key. The key's name is bound to the log and kept in the scope's state as
    `key_name`.
    """

    def __init__(
        self, app: ASGIApp, keys: Keyring, shares: Shares | None = None, *, public_names: bool = False
    ) -> None:
        self._app = app
        self._keys = keys
        self._open_to_read = PUBLIC_PATHS if public_names else frozenset()
        self._shares = shares or Shares()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in CONNECTIONS:
            await self._app(scope, receive, send)
            return
        key_name = self._keys.owner_of(_sent_key(scope)) if self._keys else None
        if key_name is not None:
            scope["state"] = {**scope.get("state", {}), "key_name": key_name}
        refusal = self._refusal(scope, key_name)
        if refusal is not None:
            await error_response(refusal)(scope, receive, send)
        elif key_name is None:
            await self._app(scope, receive, send)
        else:
            with self._counting(scope, key_name), structlog.contextvars.bound_contextvars(key=key_name):
                await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, key_name: str | None) -> ServiceError | None:
        if self._keys and key_name is None and not self._is_open(scope):
            return Unauthorized("a valid API key is needed: send `Authorization: Bearer KEY`")
        if key_name is not None and self._is_counted(scope) and self._shares.under_way[key_name] >= self._shares.most:
            return TooManyAtOnce(
                f"{self._shares.most} requests of this API key are under way (limits.max_concurrency_per_key)"
            )
        return None

    def _is_open(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        method, path = scope["method"], scope["path"]
        return method == "OPTIONS" or path in OPEN_PATHS or (method in READING and path in self._open_to_read)

    def _is_counted(self, scope: Scope) -> bool:
        return bool(self._shares.most) and scope["path"] in self._shares.paths

    @contextmanager
    def _counting(self, scope: Scope, key_name: str) -> Iterator[None]:
        if not self._is_counted(scope):
            yield
            return
        self._shares.under_way[key_name] += 1
        try:
            yield
        finally:
            self._shares.under_way[key_name] -= 1


class Intakes:
    """Gives each request and session its share of the budget, and takes it back at the end, whatever the end is."""

    def __init__(self, app: ASGIApp, budget: IntakeBudget) -> None:
        self._app = app
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in CONNECTIONS:
            await self._app(scope, receive, send)
            return
        state = scope.get("state", {})
        with self._budget.intake(state.get("key_name")) as intake:
            scope["state"] = {**state, "intake": intake}
            await self._app(scope, receive, send)


def _sent_key(scope: Scope) -> str:
    query = QueryParams(scope["query_string"]) if scope["type"] == "websocket" else None
    return sent_key(Headers(scope=scope), query)
