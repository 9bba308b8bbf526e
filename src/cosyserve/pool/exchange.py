"""A new generation of workers in the place of the old one, while streams go on.

Beside the old ones where there is room: nobody is served by the new ones before all of them are ready, then everybody
is, and the old ones end what they run and go. Else in turn: an old one ends what it runs and goes, and only then the
new one of its slot starts; where that fails, old ones are started again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cosyserve.pool.crew import Crew
from cosyserve.pool.dispatch import Dispatcher
from cosyserve.pool.status import WorkerState
from cosyserve.pool.worker import Post
from cosyserve.wire.worker_spec import WorkerSpec

TRIES = 2
"""Times `workers.start_timeout_s`, and a new generation has to be there: one death is forgiven."""


class ExchangeFailed(Exception):
    """The new workers are not to be had, and the service has the old ones; the message says why."""


class Old(NamedTuple):
    """What is needed to start one again."""

    worker: int
    spec: WorkerSpec
    generation: int


class Exchange:
    """One a reload. stopping: whether the service ends. settle: called when the dispatcher was told, before a wait.

    Whoever makes it calls `told` whenever something may have happened.
    """

    def __init__(
        self, dispatcher: Dispatcher, crew: Crew, stopping: Callable[[], bool], settle: Callable[[], None]
    ) -> None:
        self._dispatcher = dispatcher
        self._crew = crew
        self._stopping = stopping
        self._settle = settle
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def told(self) -> None:
        """Look again."""
        self._news.set()

    async def beside(self, specs: Sequence[WorkerSpec], generation: int, within_s: float) -> None:
        """All at once. Raises ExchangeFailed."""
        old = [worker.index for worker in self._dispatcher.workers.serving]
        new = [self._enlist(spec, generation, trial=True) for spec in specs]
        try:
            self._start(new)
            await self._all_ready(new, within_s)
        except BaseException:
            self._dismiss(new)
            raise
        self._commission(new)
        self._dismiss(old)

    async def in_turn(self, specs: Sequence[WorkerSpec], generation: int, within_s: float) -> None:
        """One after another; those of the new ones that have no predecessor come last. Raises ExchangeFailed."""
        before = sorted(self._dispatcher.workers.serving, key=lambda worker: worker.slot)
        old = [Old(worker.index, self._crew.spec(worker.index), worker.generation) for worker in before]
        new: list[int] = []
        self._dispatcher.handing_over = True
        try:
            for slot, spec in enumerate(specs):
                await self._send_home([one.worker for one in old[slot : slot + 1]])
                new.append(self._enlist(spec, generation, trial=True))
                self._start(new[-1:])
                await self._all_ready(new[-1:], within_s)
                self._commission(new[-1:])
            self._dismiss(one.worker for one in old[len(specs) :])
        except ExchangeFailed as failure:
            await self._restore(old, new, within_s)
            raise ExchangeFailed(f"{failure}; the old workers were started again") from failure
        finally:
            self._dispatcher.handing_over = False

    async def _restore(self, old: Sequence["Old"], new: Sequence[int], within_s: float) -> None:
        """The last one first, so that somebody serves as soon as may be, and as long."""
        for slot in reversed(range(len(new))):
            await self._send_home([new[slot]])
            again = [self._enlist(one.spec, one.generation, trial=False) for one in old[slot : slot + 1]]
            self._start(again)
            with contextlib.suppress(ExchangeFailed):
                await self._all_ready(again, within_s)

    def _enlist(self, spec: WorkerSpec, generation: int, *, trial: bool) -> int:
        index = self._dispatcher.add(Post(spec.index, spec.device, generation, trial))
        self._crew.enlist(index, spec)
        return index

    def _start(self, workers: Iterable[int]) -> None:
        for index in workers:
            self._dispatcher.start_one(index, self._loop.time())

    def _commission(self, workers: Iterable[int]) -> None:
        for index in workers:
            self._dispatcher.commission(index, self._loop.time())

    def _dismiss(self, workers: Iterable[int]) -> None:
        for index in workers:
            self._dispatcher.dismiss(index, self._loop.time())

    async def _send_home(self, workers: Sequence[int]) -> None:
        """And wait until they are gone: what they hold is needed."""
        self._dismiss(workers)
        await self._until(lambda: not any(index in self._dispatcher.workers for index in workers))

    async def _all_ready(self, workers: Sequence[int], within_s: float) -> None:
        """Raises ExchangeFailed as soon as one cannot be."""
        try:
            async with asyncio.timeout(TRIES * within_s):
                await self._until(lambda: self._are_ready(workers))
        except TimeoutError:
            raise ExchangeFailed(f"the new workers were not ready within {TRIES * within_s:g} s") from None

    def _are_ready(self, workers: Sequence[int]) -> bool:
        looked_at = [self._dispatcher.workers[index] for index in workers]
        for worker in looked_at:
            if worker.failed_trial:
                raise ExchangeFailed(f"a new worker cannot start: {worker.reason}")
        return all(worker.state in {WorkerState.SPARE, WorkerState.READY} for worker in looked_at)

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Raises ExchangeFailed where the service stops before."""
        while not holds():
            if self._stopping():
                raise ExchangeFailed("the service is stopping")
            self._settle()
            self._news.clear()
            await self._news.wait()
