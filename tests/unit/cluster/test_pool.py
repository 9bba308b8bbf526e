"""The pool of a front end over the replicas of this process: the real ones, without Ray's between."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from ray.exceptions import ActorDiedError

from cosyserve.cluster.crossing import Begun, Counter, Order, Shelf
from cosyserve.cluster.fleet import Fleet
from cosyserve.cluster.pool import ClusterPool
from cosyserve.cluster.seen import Seen
from cosyserve.cluster.told import Told
from cosyserve.errors import LineFull, NoWorker, Stopping
from cosyserve.pool.exchange import ExchangeFailed
from cosyserve.protocol import EngineConfig, Mode, Synthesize
from cosyserve.settings.sections import Settings
from cosyserve_workers.replica import Replica, load
from tests.engines import expected_pcm
from tests.process.pools import PROMPT, Listener, until
from tests.serving import Script

STREAMS = 2
ENGINE = EngineConfig(engine="tests.engines:create", model_dir="", streams=STREAMS)


class Here:
    """A replica in this process, and the way to it. A job waits there, as it would in Serve's router.

    deaths: how many of the next jobs lose it, `after` so many of their messages.
    """

    def __init__(self) -> None:
        self.replica = Replica(load(ENGINE), _break_off)
        self.shelf = Shelf()
        self.puts = 0
        self.deaths, self.after = 0, 1
        self.seen = [Seen("one", {"streams": STREAMS, "sample_rate": 24_000, "model_type": "scripted"})]
        self._room = asyncio.Semaphore(STREAMS)

    def put(self, samples: Any) -> Awaitable[Any]:
        self.puts += 1
        future = asyncio.get_running_loop().create_future()
        future.set_result(samples)
        return future

    def speak(self, order: Order) -> "Way":
        return Way(self, order)

    async def messages(self, order: Order) -> AsyncGenerator[list[Any], None]:
        async with self._room:
            dies, self.deaths = self.deaths > 0, max(0, self.deaths - 1)
            yield [Begun(24_000)]
            said = self.replica.speak(await self.shelf.request(order), order.request_id)
            sent = 0
            try:
                async for some in said:
                    if dies and sent >= self.after:
                        raise ActorDiedError
                    sent += len(some)
                    yield some
            finally:
                await said.aclose()


class Way:
    """One answer; cancelled, it is closed."""

    def __init__(self, here: Here, order: Order) -> None:
        self._messages = here.messages(order)

    def __aiter__(self) -> AsyncIterator[list[Any]]:
        return self._messages

    def cancel(self) -> None:
        self._closing = asyncio.ensure_future(self._messages.aclose())


def _break_off(reason: str) -> NoReturn:
    raise AssertionError(reason)


@asynccontextmanager
async def pool_over(here: Here, told: Callable[[], Told] = Told, **sections: object) -> AsyncIterator[ClusterPool]:
    tables = {"model": {"engine": ENGINE.engine, "streams": STREAMS}, **sections}
    fleet = Fleet(lambda: here.seen, told)
    pool = ClusterPool(Settings.model_validate(tables), here.speak, fleet, Counter(here.put))
    pool.start()
    try:
        await until(lambda: fleet.was_ready or not here.seen, "the fleet to be seen")
        yield pool
    finally:
        await pool.close()
        await asyncio.to_thread(here.replica.close)


async def gated(pool: ClusterPool, folder: Path, name: str, **words: object) -> tuple[Script, Listener]:
    """A job that waits at its gate."""
    script = Script(folder, name, **{"chunks": 2, "at": 1, **words})
    listener = Listener(pool, script.text)
    await until(lambda: "gate" in script.events(), "the gate")
    return script, listener


def test_its_recording_crosses_once() -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here) as pool:
            listeners = [Listener(pool, "chunks=3", seed) for seed in range(5)]
            assert [await listener.outcome() for listener in listeners] == ["ok"] * 5
            assert [listener.pcm for listener in listeners] == [expected_pcm(seed, 3) for seed in range(5)]
            assert here.puts == 1
            assert np.array_equal((await here.shelf.request(_order(here))).prompt.samples, PROMPT.samples)

    asyncio.run(play())


def _order(here: Here) -> Order:
    return Counter(here.put).order(Synthesize(1, "", Mode.CROSS_LINGUAL, "", "", PROMPT, 1.0, 1), "")


def test_a_hang_up_reaches_the_engine(tmp_path: Path) -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here) as pool:
            script, listener = await gated(pool, tmp_path, "one")
            listener.admitted.stream.close()
            await until(lambda: "closed" in script.events() and not here.replica.running, "the stream to be free")
            assert "chunk 1" not in script.events()
            assert await listener.outcome() == "ok"

    asyncio.run(play())


def test_who_leaves_at_once_leaves_nothing(tmp_path: Path) -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here) as pool:
            Listener(pool, "chunks=1", listens=False).admitted.stream.close()
            await asyncio.wait_for(pool.drained(), 10)
            await until(lambda: not (pool.state.running or pool.state.waiting), "nothing left")

    asyncio.run(play())


@pytest.mark.parametrize(("deaths", "outcome"), [(2, "ok"), (3, "worker_died")])
def test_a_job_runs_again_twice(deaths: int, outcome: str) -> None:
    async def play() -> None:
        here = Here()
        here.deaths, here.after = deaths, 0
        async with pool_over(here) as pool:
            listener = Listener(pool, "chunks=2", 4)
            assert await listener.outcome() == outcome
            assert listener.pcm == (expected_pcm(4, 2) if outcome == "ok" else b"")

    asyncio.run(play())


def test_what_was_heard_is_not_said_again(tmp_path: Path) -> None:
    async def play() -> None:
        here = Here()
        here.deaths, here.after = 1, 1
        async with pool_over(here) as pool:
            script, listener = await gated(pool, tmp_path, "one")
            await listener.hears()
            script.open_gate()
            assert await listener.outcome() == "worker_died"
            assert listener.pcm == expected_pcm(1, 1)

    asyncio.run(play())


def test_the_line_has_an_end(tmp_path: Path) -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here, limits={"max_waiting": 1}) as pool:
            held = [await gated(pool, tmp_path, str(number)) for number in range(STREAMS)]
            waiting = Listener(pool, "chunks=1")
            assert (pool.state.running, pool.state.waiting, pool.has_room) == (STREAMS, 1, False)
            with pytest.raises(LineFull):
                Listener(pool, "chunks=1")
            for script, _ in held:
                script.open_gate()
            assert [await listener.outcome() for listener in [waiting, *(one for _, one in held)]] == ["ok"] * 3

    asyncio.run(play())


def test_a_bound_of_its_own(tmp_path: Path) -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here, limits={"max_concurrency": 1}) as pool:
            script, listener = await gated(pool, tmp_path, "one")
            second = Listener(pool, "chunks=1")
            await asyncio.sleep(0)
            assert (pool.state.running, pool.state.waiting) == (1, 1)
            script.open_gate()
            assert [await one.outcome() for one in (listener, second)] == ["ok", "ok"]

    asyncio.run(play())


@pytest.mark.parametrize(("at", "code"), [(0, "first_chunk_timeout_s"), (1, "next_chunk_timeout_s")])
def test_no_audio_in_time(tmp_path: Path, at: int, code: str) -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here, limits={code: 0.2}) as pool:
            _, listener = await gated(pool, tmp_path, "one", at=at)
            assert await listener.outcome() == "audio_overdue"
            await until(lambda: not here.replica.running, "the stream to be free")

    asyncio.run(play())


def test_no_stream_in_time(tmp_path: Path) -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here, limits={"wait_timeout_s": 0.2}) as pool:
            held = [await gated(pool, tmp_path, str(number)) for number in range(STREAMS)]
            assert await Listener(pool, "chunks=1").outcome() == "wait_timeout"
            for script, listener in held:
                script.open_gate()
                assert await listener.outcome() == "ok"

    asyncio.run(play())


def test_before_there_is_a_replica_nobody_waits() -> None:
    async def play() -> None:
        here = Here()
        here.seen, seen = [], here.seen
        async with pool_over(here) as pool:
            assert pool.health == "starting"
            with pytest.raises(NoWorker, match="starting"):
                Listener(pool, "chunks=1")
            here.seen = seen
            assert await Listener(pool, "chunks=1").outcome() == "ok"
            assert pool.health == "ok"

    asyncio.run(play())


def test_an_engine_that_cannot_load_is_told_of() -> None:
    async def play() -> None:
        here = Here()
        here.seen = []
        told = Told("DEPLOY_FAILED", "x.EngineCannotLoad: get the weights")
        async with pool_over(here, lambda: told) as pool:
            await until(lambda: pool.health == "unavailable", "it to be hopeless")
            (status,) = pool.statuses()
            assert (status.state, status.reason) == ("unfit", "get the weights")
            with pytest.raises(NoWorker):
                Listener(pool, "chunks=1")

    asyncio.run(play())


def test_at_the_end_who_waits_for_nobody_is_sent_home(tmp_path: Path) -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here, limits={"max_concurrency": 1}) as pool:
            script, listener = await gated(pool, tmp_path, "one")
            waiting = Listener(pool, "chunks=1")
            pool.stop()
            with pytest.raises(Stopping):
                Listener(pool, "chunks=1")
            here.seen = []
            drained = asyncio.create_task(pool.drained())
            assert await waiting.outcome() == "stopping"
            script.open_gate()
            assert await listener.outcome() == "ok"
            await asyncio.wait_for(drained, 10)

    asyncio.run(play())


def test_what_concerns_engines_is_serves_to_change() -> None:
    async def play() -> None:
        here = Here()
        async with pool_over(here) as pool:
            model = {"engine": ENGINE.engine, "streams": STREAMS}
            other = Settings.model_validate({"model": {**model, "precision": "fp16"}})
            with pytest.raises(ExchangeFailed, match="serve deploy"):
                await pool.hand_over(other)
            same = Settings.model_validate({"model": model, "limits": {"max_waiting": 0}})
            assert await pool.hand_over(same) == ""
            pool.adjust(same)
            assert pool.state.generation == 2

    asyncio.run(play())
