"""A request's place in a trace: taken from its headers, told in its answer and its lines of the log."""

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cosyserve.http.middleware import ANSWERS, CONNECTIONS
from cosyserve.watch.lines import MAX_METHOD_CHARS, QUIET, RequestLine, route_of
from cosyserve.watch.spans import Span, Spans, Unseen, being, sent_trace

SERVER_FAULT = 500
"""From this status on, an answer says that the fault is ours."""


class Traced:
    """Around what gives a request its line, which knows at the end what it was."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in CONNECTIONS:
            await self._app(scope, receive, send)
            return
        span = self._begin(scope)
        if span.trace is None:
            await self._app(scope, receive, send)
            return
        trace = span.trace

        async def telling_send(message: Message) -> None:
            if message["type"] in ANSWERS:
                MutableHeaders(scope=message)["traceresponse"] = trace.parent
            await send(message)

        with structlog.contextvars.bound_contextvars(trace_id=trace.id), being(span):
            try:
                await self._app(scope, receive, telling_send)
            finally:
                _end(span, scope)

    def _begin(self, scope: Scope) -> Span:
        sent = sent_trace(Headers(scope=scope))
        return Unseen(sent) if scope["path"] in QUIET else self._spans.begin(sent)


def _end(span: Span, scope: Scope) -> None:
    line, state = RequestLine.of(scope), scope.get("state", {})
    method, route = scope.get("method", "GET")[:MAX_METHOD_CHARS], route_of(scope)
    facts = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": line.status,
        "cosyserve.request_id": structlog.contextvars.get_contextvars().get("request_id"),
        "cosyserve.key": state.get("key_name"),
        "cosyserve.code": line.code,
    }
    ours = line.status is None or line.status >= SERVER_FAULT
    span.end(facts, line.code if ours else None, f"{method} {route}")
