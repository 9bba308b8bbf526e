"""The order of frames, and what becomes of one whose sender is cancelled."""

from typing import Any

import anyio
import pytest

from cosyserve.errors import ListenerStalled
from cosyserve.live.outlet import Outlet

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Wire:
    """A client that reads a frame only when it is let."""

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.sending = anyio.Event()
        self.reading = anyio.Event()

    async def send(self, frame: Any) -> None:
        self.sending.set()
        await self.reading.wait()
        self.frames.append(frame.get("bytes") or frame.get("text") or frame["type"])


async def test_audio_that_is_not_wanted_any_more_when_its_turn_comes() -> None:
    wire = Wire()
    outlet = Outlet(wire.send, 60)
    wanted = True
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outlet.audio, b"first", lambda: wanted)
        await wire.sending.wait()
        tasks.start_soon(outlet.audio, b"second", lambda: wanted)
        await anyio.wait_all_tasks_blocked()
        wanted = False
        tasks.start_soon(outlet.tell, {"type": "input.cancelled"})
        await anyio.wait_all_tasks_blocked()
        wire.reading.set()
    assert wire.frames == [b"first", '{"type": "input.cancelled"}']


async def test_a_frame_that_has_begun_is_sent_whole() -> None:
    """Only then does the cancellation come through."""
    wire = Wire()
    outlet = Outlet(wire.send, 60)
    scope = anyio.CancelScope()

    async def speak() -> None:
        with scope:
            await outlet.audio(b"begun", lambda: True)
            await outlet.audio(b"never begun", lambda: True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(speak)
        await wire.sending.wait()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert wire.frames == []
        wire.reading.set()
    assert scope.cancelled_caught
    assert wire.frames == [b"begun"]


async def test_messages_told_together_stay_together() -> None:
    wire = Wire()
    wire.reading.set()
    outlet = Outlet(wire.send, 60)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outlet.tell, {"n": 1}, {"n": 2})
        tasks.start_soon(outlet.audio, b"audio", lambda: True)
        tasks.start_soon(outlet.tell, {"n": 3})
    assert wire.frames == ['{"n": 1}', '{"n": 2}', b"audio", '{"n": 3}']


async def test_a_client_that_reads_nothing() -> None:
    outlet = Outlet(Wire().send, 0.01)
    with pytest.raises(ListenerStalled):
        await outlet.audio(b"audio", lambda: True)


async def test_no_empty_frames() -> None:
    wire = Wire()
    await Outlet(wire.send, 60).audio(b"", lambda: True)
    assert not wire.sending.is_set()


async def test_nothing_follows_a_goodbye() -> None:
    """What the client says after it may still have answers on their way."""
    wire = Wire()
    wire.reading.set()
    outlet = Outlet(wire.send, 60)
    await outlet.close(1001, "the service is stopping")
    await outlet.tell({"type": "error"})
    await outlet.audio(b"late", lambda: True)
    await outlet.close(1000, "again")
    assert wire.frames == ["websocket.close"]
