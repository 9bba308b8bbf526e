"""The gate, by the ASGI messages: who gets through, over HTTP and WebSocket, and how many at once."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from cosyserve.http.access import Keyring
from cosyserve.http.middleware import Gate, Shares

KEYS = Keyring({"shop": "abc", "phone": "def"})
SPEECH = "/v1/audio/speech"


class Inside:
    """What is behind the gate: it notes who came, and keeps them until told."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Scope, _: Receive, __: Send) -> None:
        self.scopes.append(scope)
        await self.go.wait()


def scope(kind: str = "http", key: str = "", path: str = SPEECH, query: str = "", **more: Any) -> Scope:
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    method = {"method": "POST"} if kind == "http" else {}
    base = {"type": kind, "path": path, "http_version": "1.1", "headers": headers, "query_string": query.encode()}
    return {**base, **method, **more}


async def status(gate: Gate, asked: Scope) -> int | None:
    """The answer's; None where the application was reached."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("a refusal needs no body")

    async def send(message: Message) -> None:
        sent.append(message)

    await gate(asked, receive, send)
    if not sent:
        return None
    assert sent[0]["type"] in {"http.response.start", "websocket.http.response.start"}
    code: int = sent[0]["status"]
    return code


def ask(asked: Scope, keys: Keyring = KEYS) -> tuple[int | None, list[Scope]]:
    async def run() -> tuple[int | None, list[Scope]]:
        inside = Inside()
        return await status(Gate(inside, keys), asked), inside.scopes

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["http", "websocket"])
class TestKeys:
    def test_a_known_one_has_a_name(self, kind: str) -> None:
        answer, (seen,) = ask(scope(kind, "def", state={"kept": 1}))
        assert answer is None
        assert seen["state"] == {"kept": 1, "key_name": "phone"}

    @pytest.mark.parametrize("key", ["", "ab", "abcd"])
    def test_none_or_a_wrong_one(self, kind: str, key: str) -> None:
        assert ask(scope(kind, key)) == (401, [])

    def test_none_needed(self, kind: str) -> None:
        assert ask(scope(kind), Keyring({}))[0] is None


def test_in_the_query_of_a_websocket_alone() -> None:
    assert ask(scope("websocket", query="api_key=abc"))[0] is None
    assert ask(scope("http", query="api_key=abc"))[0] == 401


@pytest.mark.parametrize("path", ["/health", "/health/live", "/docs", "/openapi.json"])
def test_open_paths(path: str) -> None:
    assert ask(scope(path=path))[0] is None
    assert ask(scope("websocket", path=path))[0] == 401


def test_the_lifespan_passes() -> None:
    assert ask({"type": "lifespan"})[0] is None


class TestLimit:
    async def hold(self, inside: Inside, gate: Gate, *asked: Scope) -> list["asyncio.Task[int | None]"]:
        """Have them all under way, those that get through."""
        inside.go.clear()
        tasks = [asyncio.create_task(status(gate, one)) for one in asked]
        for _ in range(10):
            await asyncio.sleep(0)
        return tasks

    def test_one_key_has_so_many(self) -> None:
        async def run() -> None:
            inside = Inside()
            gate = Gate(inside, KEYS, Shares({SPEECH}, 2))
            held = await self.hold(inside, gate, scope(key="abc"), scope("websocket", key="abc"))
            assert await status(gate, scope(key="abc")) == 429
            assert await status(gate, scope("websocket", key="abc")) == 429
            inside.go.set()
            assert await status(gate, scope(key="def")) is None
            assert await status(gate, scope(key="abc", path="/model_info")) is None
            assert [await task for task in held] == [None, None]
            assert await status(gate, scope(key="abc")) is None

        asyncio.run(run())

    def test_one_that_is_cut_off_gives_its_place_back(self) -> None:
        async def run() -> None:
            inside = Inside()
            gate = Gate(inside, KEYS, Shares({SPEECH}, 1))
            (held,) = await self.hold(inside, gate, scope(key="abc"))
            held.cancel()
            with pytest.raises(asyncio.CancelledError):
                await held
            inside.go.set()
            assert await status(gate, scope(key="abc")) is None

        asyncio.run(run())

    def test_no_limit(self) -> None:
        async def run() -> None:
            inside = Inside()
            gate = Gate(inside, KEYS, Shares({SPEECH}))
            held = await self.hold(inside, gate, *(scope(key="abc") for _ in range(50)))
            assert len(inside.scopes) == 50
            inside.go.set()
            await asyncio.gather(*held)

        asyncio.run(run())
