"""What is left of a connection that has ended: nothing that only the garbage collector could free."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator

import pytest
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from cosyserve.http.transport.connection import Connection, House
from cosyserve.http.transport.door import open_door
from cosyserve.http.transport.http1 import Http1
from tests.http.wire import LEAVES, Leave, head

REQUESTS = {
    "none": b"",
    "one": head("GET / HTTP/1.1"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(4096),
    "one behind another": 50 * head("GET / HTTP/1.1"),
    "rubbish": b"\0\r\n\r\n",
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
def test_nothing_is_left(sent: bytes, leave: Leave) -> None:
    async def run() -> None:
        house = House(app, Config(), WorkerContext(None), keep_alive_s=0.1, max_connections=10)
        async with open_door(listener, house):
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(sent)
                await asyncio.sleep(0.05)
                with contextlib.suppress(OSError):
                    leave(client)
                await asyncio.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        asyncio.run(run())
    left = [thing for thing in gc.get_objects() if type(thing) in {Connection, Http1}]
    assert not left
