"""An engine's streams on an event loop: what is let go of, and what is past use."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from cosyserve.protocol import Chunk, Done, EngineConfig, Mode, Prompt, Synthesize
from cosyserve_workers.replica import Replica, load
from tests.engines import expected_pcm
from tests.process.pools import until
from tests.serving import Script

VOICE = Prompt(np.zeros(16_000, np.float32), 16_000, "voice")


class BrokenOff(Exception):
    """What would have ended the process."""


def break_off(reason: str) -> None:
    raise BrokenOff(reason)


def played(test: Callable[[Replica], Awaitable[None]], streams: int = 2) -> None:
    """A replica of the scripted engine, for a test."""

    async def play() -> None:
        engine = load(EngineConfig(engine="tests.engines:create", model_dir="", streams=streams))
        replica = Replica(engine, break_off)  # type: ignore[arg-type] # a process would not go on
        try:
            await test(replica)
        finally:
            await asyncio.to_thread(replica.close)

    asyncio.run(play())


def job(text: str, seed: int = 1) -> Synthesize:
    """All of them have one number, as those of two front ends may."""
    return Synthesize(1, text, Mode.CROSS_LINGUAL, "", "", VOICE, 1.0, seed)


def test_jobs_of_one_number_are_kept_apart() -> None:
    async def test(replica: Replica) -> None:
        async def said(seed: int) -> bytes:
            messages = [one async for some in replica.speak(job("chunks=3", seed), "r") for one in some]
            assert isinstance(messages[-1], Done)
            return b"".join(one.pcm for one in messages if isinstance(one, Chunk))

        assert await asyncio.gather(*map(said, range(6))) == [expected_pcm(seed, 3) for seed in range(6)]
        assert replica.running == 0

    played(test)


def test_a_stream_is_busy_until_the_engine_lets_go(tmp_path: Path) -> None:
    script = Script(tmp_path, chunks=3, at=1, deaf=1)

    async def test(replica: Replica) -> None:
        said = replica.speak(job(script.text), "r")
        await anext(said)
        await until(lambda: "gate" in script.events(), "the gate")
        leaving = asyncio.create_task(said.aclose())
        await asyncio.sleep(0.05)
        assert (replica.running, leaving.done()) == (1, False)
        script.open_gate()
        await leaving
        assert replica.running == 0

    played(test)


def test_an_engine_that_stands_still_is_past_use(tmp_path: Path) -> None:
    script = Script(tmp_path, chunks=3, at=1, deaf=1)

    async def test(replica: Replica) -> None:
        replica.check(0.0)
        said = replica.speak(job(script.text), "r")
        await anext(said)
        await until(lambda: "gate" in script.events(), "the gate")
        await until(lambda: _is_past_use(replica, 0.1), "it to be noticed")
        assert not _is_past_use(replica, 60.0)
        script.open_gate()
        await said.aclose()

    played(test)


def _is_past_use(replica: Replica, stall_timeout_s: float) -> bool:
    try:
        replica.check(stall_timeout_s)
    except BrokenOff:
        return True
    return False
