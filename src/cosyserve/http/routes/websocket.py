"""WebSocket /v1/audio/speech/stream: text in as it is written, speech out as it is made."""

from urllib.parse import urlsplit

from starlette.routing import WebSocketRoute
from starlette.types import Scope
from starlette.websockets import WebSocket

from cosyserve.errors import ForbiddenOrigin, ServiceError, TooManyConnections
from cosyserve.http.responses import error_response
from cosyserve.http.service import Service, service_of
from cosyserve.live.connection import Connection
from cosyserve.speech.intake import Intake
from cosyserve.watch.lines import RequestLine


async def stream(websocket: WebSocket) -> None:
    """Let the client in, or say why not while the answer is still HTTP's."""
    service = service_of(websocket)
    refusal = _refusal(websocket, service)
    if refusal is not None:
        await error_response(refusal)(websocket.scope, websocket.receive, websocket.send)
        return
    with service.sessions.one_more(), service.reporter.metrics.websocket_connections.track_inprogress():
        await websocket.accept()
        connection = Connection(websocket, service.settings, service.pool, service.reporter, service.speakers)
        _note(websocket.scope, await connection.run())


def _note(scope: Scope, ending: ServiceError | None) -> None:
    outcome, reason = ("ok", None) if ending is None else (ending.code, ending.message)
    line = RequestLine.of(scope)
    line.code = None if ending is None else ending.code
    line.become("websocket closed", {"outcome": outcome, "reason": reason})


def _refusal(websocket: WebSocket, service: Service) -> ServiceError | None:
    settings = service.settings
    origin = websocket.headers.get("origin")
    if origin is not None and not _is_welcome(origin, websocket.headers.get("host", ""), settings.server.cors_origins):
        return ForbiddenOrigin(f"web pages of {origin[:100]} may not connect: add it to server.cors_origins")
    if service.sessions.open >= settings.websocket.max_connections:
        return TooManyConnections(f"{settings.websocket.max_connections} sessions are open (websocket.max_connections)")
    try:
        # What comes of a message is kept before it is whole, and before anybody is asked.
        Intake.of(websocket.scope).take(settings.websocket.max_message_bytes)
    except ServiceError as full:
        return full
    return None


def _is_welcome(origin: str, host: str, allowed: tuple[str, ...]) -> bool:
    """Browsers let every page open a WebSocket to everywhere: who may is for the server to say."""
    return "*" in allowed or origin in allowed or (host != "" and _place(origin) == host.lower())


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


routes = [WebSocketRoute("/v1/audio/speech/stream", stream)]
