"""What the application does with a bug of its own: no route has one to show, so these tests bring theirs."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message

from cosyserve.http.app import build_app
from cosyserve.settings.sections import DefaultSettings, Settings


async def buggy(_: Request) -> Response:
    raise ZeroDivisionError("a secret of the house")


async def buggy_later(_: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise ZeroDivisionError("a secret of the house")

    return StreamingResponse(body())


def get(path: str) -> list[Message]:
    """The ASGI messages of the answer."""
    app = build_app(Settings(defaults=DefaultSettings(prompt_wav=None)))
    app.router.routes += [Route("/buggy", buggy), Route("/buggy-later", buggy_later)]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"x-request-id", b"my-request")],
    }
    to_come: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if not to_come:
            await asyncio.Event().wait()
        return to_come.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_the_client_is_told_the_request_id_and_no_more() -> None:
    start, body = get("/buggy")
    assert start["status"] == 500
    assert Headers(raw=start["headers"])["x-request-id"] == "my-request"
    assert b'"internal_error"' in body["body"]
    assert b"secret" not in body["body"]


def test_half_an_answer_has_no_end() -> None:
    """Hypercorn then breaks the connection."""
    start, *bodies = get("/buggy-later")
    assert start["status"] == 200
    assert [body["body"] for body in bodies] == [b"half"]
    assert bodies[-1]["more_body"]


@pytest.mark.parametrize("path", ["/buggy", "/buggy-later"])
def test_the_log_has_the_trace_under_that_id(path: str) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        get(path)
    line, told = logs
    assert told["code"] == "internal_error"
    assert (line["log_level"], line["request_id"], line["exc_info"]) == ("error", "my-request", True)
