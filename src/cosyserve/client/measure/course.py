"""A measurement from its first request to its last: stage after stage, into a report."""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import httpx
from tqdm import tqdm

from cosyserve.client.measure.asking import Asker
from cosyserve.client.measure.clients import ask_all
from cosyserve.client.measure.counters import REQUESTS, Counted, total
from cosyserve.client.measure.figures import stage_report
from cosyserve.client.measure.kill import kill_a_worker
from cosyserve.client.measure.memory import MemoryWatch
from cosyserve.client.measure.observer import Observer
from cosyserve.client.measure.plan import Stage, plan, share
from cosyserve.client.measure.record import Outcome, Report, Run, StageReport
from cosyserve.client.measure.service import Service, tail
from cosyserve.client.measure.target import ASKING, MeasureError
from cosyserve.settings.sections import Settings

POLL_S = 0.1
HELP_S = 60.0
"""For a worker's successor, beyond what it may take to start."""


@dataclass(frozen=True, slots=True)
class Own:
    """The service where it was started here. kills: whether a worker is killed at the end."""

    service: Service
    settings: Settings
    kills: bool


@dataclass(slots=True)
class Course:
    """One measurement. own: None where the service is somebody else's. The report fills while it goes on."""

    report: Report
    asker: Asker
    clients: Sequence[int]
    own: Own | None
    memory: MemoryWatch = field(default_factory=MemoryWatch)
    _bar: "tqdm[NoReturn] | None" = None

    async def run(self) -> None:
        """Raises MeasureError where there is nothing to be measured."""
        began_at = time.monotonic()
        async with self.asker.target.open(ASKING) as client:
            observer = Observer(client, self.asker.target)
            watching = asyncio.create_task(self.memory.watch())
            try:
                await self._get_ready(observer, began_at)
                await self._stages(observer)
                await self._last_counts(observer)
                await self._kill(observer)
            finally:
                watching.cancel()
                self.report.memory, self.report.peaks = self.memory.samples, self.memory.peaks()
                self.report.wall_s = time.monotonic() - began_at

    async def _get_ready(self, observer: Observer, began_at: float) -> None:
        if self.own is None:
            await self._look(observer)
            if (health := await observer.health()) != "ok":
                raise MeasureError(f"{self.asker.target.shown} is not ready: /health says {health or 'nothing'}")
            return
        with tqdm(disable=None, leave=False, file=sys.stderr, bar_format="loading the model [{elapsed}]") as bar:
            while (health := await observer.health()) != "ok":
                if self.own.service.ended or health == "unavailable":
                    raise MeasureError(await self._why_not(observer))
                bar.refresh()
                await asyncio.sleep(POLL_S)
        self.report.load_s = time.monotonic() - began_at
        await self._look(observer)

    async def _why_not(self, observer: Observer) -> str:
        assert self.own is not None
        if self.own.service.ended:
            return f"the service ended before it was ready: {tail(self.own.service.log)}"
        workers = (await observer.info()).get("workers", [])
        reasons = {worker["reason"] for worker in workers if worker.get("reason")}
        return f"no worker gets ready: {'; '.join(sorted(reasons))} (`cosyserve check` has remedies)"

    async def _look(self, observer: Observer) -> None:
        """At the workers as they are now."""
        self.report.info = await observer.info()
        if self.own is not None:
            pids = [worker["pid"] for worker in self.report.workers if worker.get("pid")]
            self.memory.pids = [self.own.service.process.pid, *pids]

    async def _stages(self, observer: Observer) -> None:
        cold = len(self.report.workers) if self.own else 0
        if not self.own:
            self._say("cold: left out, the service was not started here and has been asked before")
        stages = plan(self.clients, cold=cold)
        instruction = str(self.report.info.get("default_instruction") or "")
        self.asker = replace(self.asker, instruction=instruction)
        deadline = asyncio.get_running_loop().time() + self.report.minutes * 60
        requests = sum(len(stage.asks) for stage in stages)
        with tqdm(total=requests, disable=None, leave=False, file=sys.stderr, unit="request") as self._bar:
            while stages and self._goes_on(stages, deadline):
                await self._stage(observer, stages, deadline)
                stages.pop(0)

    async def _last_counts(self, observer: Observer) -> None:
        """Before a worker is killed, with whom its own go."""
        if counted := await observer.counted():
            self.report.totals = {**counted.counters, **counted.gauges}

    def _goes_on(self, stages: Sequence[Stage], deadline: float) -> bool:
        reason = ""
        if self.own and self.own.service.ended:
            self.report.failures.append(f"the service ended by itself: {tail(self.own.service.log)}")
            reason = "the service is gone"
        elif self.report.stages and not self.report.stages[-1].whole and self.report.stages[-1].failed:
            reason = "nothing was answered in the stage before"
        elif asyncio.get_running_loop().time() >= deadline:
            reason = "the time was over"
        if reason:
            self._say(*(f"{stage.name}: left out, {reason}" for stage in stages))
        return not reason

    async def _stage(self, observer: Observer, stages: Sequence[Stage], deadline: float) -> None:
        """The first of these."""
        stage, loop, runs = stages[0], asyncio.get_running_loop(), list[Run]()
        assert self._bar is not None
        bar = self._bar
        bar.set_description(stage.name)

        def on_run(run: Run) -> None:
            runs.append(run)
            bar.update()

        given_s = share(deadline - loop.time(), stages)
        before = await observer.counted()
        began_at, cpu_s = time.perf_counter(), time.process_time()
        await ask_all(stage, self.asker, loop.time() + given_s, deadline, on_run)
        wall_s, cpu_s = time.perf_counter() - began_at, time.process_time() - cpu_s
        counted = await observer.settled(before, len(runs)) if before else None
        done = stage_report(stage, runs, counted or Counted(), wall_s, cpu_s)
        bar.update(len(stage.asks) - len(runs))
        self.report.stages.append(done)
        self._account(done, given_s, counted)
        await self._look(observer)

    def _account(self, done: StageReport, given_s: float, counted: Counted | None) -> None:
        """Say what is not as it was planned."""
        asked = len(done.runs)
        if asked < done.planned:
            self._say(f"{done.name}: {asked} of {done.planned} requests, its {given_s:.0f} s were over")
        if done.cut:
            unheard = sum(run.outcome is Outcome.CUT and run.first_s is None for run in done.runs)
            which = f", {unheard} of them before their first audio, which the figures lack" if unheard else ""
            self._say(f"{done.name}: {done.cut} requests were broken off when the time was over{which}")
        if counted is None:
            self._say(f"{done.name}: the service's own counts are missing, its /metrics gave no answer")
        elif (others := total(done.counters, REQUESTS) - asked) > 0:
            self._say(f"{done.name}: others used the service meanwhile ({others:.0f} requests)")
        for code, count in done.failed.items():
            message = next(run.message for run in done.runs if run.code == code)
            self.report.failures.append(f"{done.name}: {count} requests failed with {code} ({message})")

    async def _kill(self, observer: Observer) -> None:
        if self.own is None or not self.own.kills:
            why = "it was not asked for" if self.own else "the service was not started here"
            self._say(f"kill of a worker: left out, {why}")
            return
        if self.own.service.ended:
            return
        limits, patience_s = self.own.settings.limits, self.own.settings.workers.start_timeout_s + HELP_S
        try:
            with tqdm(disable=None, leave=False, file=sys.stderr, bar_format="killing a worker [{elapsed}]"):
                kill = await kill_a_worker(self.asker, observer, limits.max_text_chars, patience_s)
        except (httpx.RequestError, MeasureError) as error:
            self.report.failures.append(f"kill of a worker: it could not be tried ({error})")
            return
        self.report.kill = kill
        if kill.ready_s is None:
            self.report.failures.append(f"kill of a worker: no successor got ready ({kill.note or 'no reason told'})")
        await self._look(observer)

    def _say(self, *lines: str) -> None:
        self.report.said += lines
