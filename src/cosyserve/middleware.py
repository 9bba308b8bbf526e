"""What every request passes through: its id, the protocol and key checks, and a close that lets it read its answer."""

import math
import re
import secrets
import uuid
from collections.abc import Collection

import anyio
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cosyserve.errors import HttpVersionNotSupported, ServiceError, Unauthorized
from cosyserve.responses import error_response

OPEN_PATHS = frozenset({"/health", "/health/live"})
"""What orchestrators ask, which have no key."""
LINGER_BYTES = 64 * 1024 * 1024
LINGER_S = 10.0
_BUG = ServiceError("an internal error; the server's log has the details under this request id")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.get_logger(__name__)


class RequestId:
    """Takes the client's X-Request-Id, or makes one; every answer and every log line of the request has it.

    A bug is dealt with here too: further out, neither its answer nor its trace in the log would have the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                log.exception("a bug in the server")
                if not started:
                    await error_response(_BUG)(scope, receive, send_with_id)


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


class Gate:
    """Turns away what must not reach a route: HTTP/2, and requests without a key where keys are configured."""

    def __init__(self, app: ASGIApp, api_keys: Collection[str]) -> None:
        self._app = app
        self._api_keys = [key.encode() for key in api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        app = self._app if refusal is None else error_response(refusal)
        await app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ServiceError | None:
        if scope["http_version"] not in {"1.0", "1.1"}:
            return HttpVersionNotSupported(
                "this server speaks HTTP/1.1; a proxy in front may speak HTTP/2 to its clients"
            )
        preflight = scope["method"] == "OPTIONS"
        if not self._api_keys or preflight or scope["path"] in OPEN_PATHS or self._known_key(Headers(scope=scope)):
            return None
        return Unauthorized("a valid API key is needed: send `Authorization: Bearer KEY`")

    def _known_key(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        sent = (token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")).encode()
        # Every key is compared, so that the time says nothing about which came near.
        return sum(secrets.compare_digest(sent, key) for key in self._api_keys) > 0
