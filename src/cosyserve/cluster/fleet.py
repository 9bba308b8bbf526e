"""The replicas of the engine, as a front end sees them: those that run, by themselves, and the others, by Serve."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import anyio.to_thread
import structlog

from cosyserve.cluster.seen import Seen
from cosyserve.cluster.told import Told
from cosyserve.pool.status import WorkerState, WorkerStatus

QUIET_S, UNQUIET_S = 10.0, 1.0
"""Between two questions to Serve while all is well, and else."""

log = structlog.get_logger(__name__)


class Fleet:
    """seen: the replicas that run. ask: what Serve says, which may take its time and may fail."""

    def __init__(self, seen: Callable[[], Sequence[Seen]], ask: Callable[[], Told]) -> None:
        self._seen = seen
        self._ask = ask
        self._told = Told()
        self._ids_by_rank: dict[int, str] = {}
        self._restarts: dict[int, int] = {}
        self.was_ready = False
        """Whether there has ever been one."""

    @property
    def ready(self) -> bool:
        """Whether one runs."""
        return bool(self._seen())

    @property
    def health(self) -> str:
        """`ok`, `starting` or `unavailable`."""
        if self.ready:
            return "ok"
        return "unavailable" if self._told.hopeless else "starting"

    @property
    def reason(self) -> str:
        """Why there is none, in one line, where that is known."""
        return self._told.reason

    @property
    def streams(self) -> int:
        """How many run at once on all of them."""
        return sum(int(one.told.get("streams", 0)) for one in self._seen())

    @property
    def running(self) -> int:
        """Streams in use on all of them, by whichever front end, about a second ago."""
        return sum(int(one.told.get("running", 0)) for one in self._seen())

    def first(self, name: str) -> Any:
        """What a replica tells of itself under this name; None before one runs."""
        return next((one.told[name] for one in self._seen() if one.told.get(name)), None)

    def statuses(self) -> list[WorkerStatus]:
        """One entry a replica; `worker` is its rank."""
        running = sorted((self._status(one) for one in self._seen()), key=lambda status: status.worker)
        return [*running, *self._others(len(running))]

    async def watch(self) -> None:
        """Keep up with it, and tell the log, until cancelled."""
        known: set[str] = set()
        while True:
            before = self._told
            self._told = await anyio.to_thread.run_sync(self._asked, abandon_on_cancel=True)
            known = self._tell(known)
            if self._told.reason and self._told.reason != before.reason:
                log.error("engine cannot start", reason=self._told.reason)
            await asyncio.sleep(QUIET_S if self.ready and self._told.status == "HEALTHY" else UNQUIET_S)

    def _asked(self) -> Told:
        try:
            return self._ask()
        except Exception as error:
            log.warning("Serve's controller does not answer", reason=" ".join(str(error).split())[:200])
            return self._told

    def _tell(self, known: set[str]) -> set[str]:
        now = {one.id: one for one in self._seen()}
        for one in now.keys() - known:
            self._ranked(now[one])
            details = dict(now[one].told.get("details", {}))
            log.info("replica ready", replica=one, streams=now[one].told.get("streams"), details=details)
        for one in known - now.keys():
            log.warning("replica gone", replica=one)
        self.was_ready = self.was_ready or bool(now)
        return set(now)

    def _ranked(self, one: Seen) -> int:
        """Its rank; another replica of the same rank before it counts as its restart."""
        rank = int(one.told.get("rank", 0))
        before = self._ids_by_rank.get(rank)
        if before not in {None, one.id}:
            self._restarts[rank] = self._restarts.get(rank, 0) + 1
        self._ids_by_rank[rank] = one.id
        return rank

    def _status(self, one: Seen) -> WorkerStatus:
        told = one.told
        rank = self._ranked(one)
        return _status(
            rank,
            WorkerState.READY,
            device=told.get("gpus") or None,
            pid=told.get("pid"),
            streams=int(told.get("streams", 0)),
            running=int(told.get("running", 0)),
            restarts=self._restarts.get(rank, 0),
            details=told.get("details", {}),
            counters=told.get("counters", {}),
        )

    def _others(self, first: int) -> Iterator[WorkerStatus]:
        """Those that do not run, of which Serve tells the number alone."""
        states = [WorkerState.STARTING] * self._told.coming + [WorkerState.LEAVING] * self._told.leaving
        for rank, state in enumerate(states, first):
            yield _status(rank, state, reason=self.reason)
        if not first and not states and self.health == "unavailable":
            yield _status(0, WorkerState.UNFIT, reason=self.reason)


def _status(rank: int, state: WorkerState, **known: Any) -> WorkerStatus:
    """What is not known is as of a worker that has no process."""
    numbers = dict.fromkeys(("streams", "running", "restarts"), 0)
    unknown: dict[str, Any] = {**numbers, "device": None, "pid": None, "reason": "", "details": {}, "counters": {}}
    return WorkerStatus(worker=rank, generation=1, state=state, **{**unknown, **known})
