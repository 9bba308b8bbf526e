"""Pieces on the shortest way, between others that come by the long one."""

import asyncio
import http.client
import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from starlette.types import Message, Receive, Scope, Send

from cosyserve.http.transport.connection import House
from cosyserve.http.transport.door import open_door
from cosyserve.http.transport.straight import Straight
from tests.http.wire import head
from tests.serving import DEADLINE_S

PIECES = [random.Random(number).randbytes(1 + 37 * number * number % 48_000) for number in range(200)]
"""Too many for the buffers between both ends."""
FEW_BYTES = 16 * 1024
REQUEST = head("GET / HTTP/1.1")


@dataclass
class Answer:
    """An application that sends PIECES, each on the shortest way that is open."""

    ways: list[Straight | None] = field(default_factory=list)
    straight: int = 0
    around: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        way = Straight.of(scope)
        self.ways.append(way)
        assert way is None or not way.clear
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in PIECES:
            if way is not None and way.clear:
                way.send(piece)
                way.send(b"")
                self.straight += 1
            else:
                self.around.set()
                await send(body(piece, more=True))
        await send(body(b"", more=False))
        assert way is None or not way.clear


def body(piece: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": piece, "more_body": more}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEW_BYTES)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FEW_BYTES)
        listener.setblocking(False)
        yield listener


def ask(answering: Answer, address: tuple[str, int], requests: list[bytes]) -> list[bytes]:
    """The bodies of the answers, on one connection; not read before a piece had to take the long way."""
    answers = []
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FEW_BYTES)
        client.settimeout(DEADLINE_S)
        client.connect(address)
        for request in requests:
            client.sendall(request)
            assert answering.around.wait(DEADLINE_S)
            answer = http.client.HTTPResponse(client, method=request.split(b" ", 1)[0].decode())
            answer.begin()
            answers.append(answer.read())
    return answers


def run(listener: socket.socket, answer: Answer, requests: list[bytes]) -> list[bytes]:
    async def scenario() -> list[bytes]:
        house = House(answer, Config(), WorkerContext(None), keep_alive_s=DEADLINE_S, max_connections=10)
        async with open_door(listener, house):
            with ThreadPoolExecutor(1) as client:
                return await asyncio.get_running_loop().run_in_executor(
                    client, ask, answer, listener.getsockname()[:2], requests
                )

    return asyncio.run(scenario())


def test_all_come_in_order_by_whichever_way(listener: socket.socket) -> None:
    answer = Answer()
    assert run(listener, answer, [REQUEST, REQUEST]) == [b"".join(PIECES)] * 2
    assert answer.straight


def test_none_is_clear_to_the_answer_of_another_request(listener: socket.socket) -> None:
    clear: list[bool] = []

    class Later(Answer):
        """Looks for the ways of those before it when its own answer is under way."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def looking_send(message: Message) -> None:
                await send(message)
                clear.extend(way.clear for way in self.ways[:-1] if way is not None)

            await super().__call__(scope, receive, looking_send)

    run(listener, Later(), [REQUEST, REQUEST])
    assert clear
    assert not any(clear)


@pytest.mark.parametrize("request_line", ["HEAD / HTTP/1.1", "GET / HTTP/1.0"])
def test_there_is_none_where_no_chunks_are_sent(listener: socket.socket, request_line: str) -> None:
    answer = Answer()
    (sent,) = run(listener, answer, [head(request_line)])
    assert answer.ways == [None]
    assert sent == (b"" if request_line.startswith("HEAD") else b"".join(PIECES))


def test_none_is_clear_to_a_client_that_has_gone(listener: socket.socket) -> None:
    told = asyncio.Queue[bool]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        way = Straight.of(scope)
        assert way is not None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(body(b"first", more=True))
        assert way.clear
        while (await receive())["type"] != "http.disconnect":
            pass
        told.put_nowait(way.clear)

    async def scenario() -> bool:
        house = House(app, Config(), WorkerContext(None), keep_alive_s=DEADLINE_S, max_connections=10)
        async with open_door(listener, house):
            reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
            writer.write(REQUEST)
            await reader.readuntil(b"first")
            writer.close()
            return await told.get()

    assert not asyncio.run(scenario())
