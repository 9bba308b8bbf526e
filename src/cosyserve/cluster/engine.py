"""The engine as a deployment of Ray Serve: a replica is a process with one engine, the same as a worker's.

The worker side is imported by name, inside the replica alone, after the threads of its libraries are set.
"""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

import ray
from ray import serve

from cosyserve.check.quota import cores
from cosyserve.cluster.crossing import Begun, Order, Shelf
from cosyserve.pool.launch import THREAD_VARIABLES
from cosyserve.protocol import EngineConfig
from cosyserve.wire.logs import configure_worker

log = logging.getLogger(__name__)


class EngineCannotLoad(Exception):
    """One line, with the remedy: `told.py` finds it in the trace."""


class Engine:
    """What Serve makes in each replica.

    threads: for the numeric libraries' pools, 0 for as many as the node has processors.
    stall_timeout_s: `workers.stall_timeout_s`.
    """

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, config: EngineConfig, threads: int, stall_timeout_s: float, log_level: str
    ) -> None:
        """Raises EngineCannotLoad."""
        configure_worker(log_level)
        # Ray has set them by the processors that were asked for, which may be none.
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads or cores())))
        worker_side = importlib.import_module("cosyserve_workers.replica")
        load_error = importlib.import_module("cosyserve_workers.engine").LoadError
        try:
            self._engine = await asyncio.to_thread(worker_side.load, config)
        except load_error as error:
            raise EngineCannotLoad(" ".join(str(error).split())) from None
        self._streams = worker_side.Replica(self._engine, _break_off)
        self._shelf = Shelf()
        self._stall_timeout_s = stall_timeout_s
        self._about = _about(self._engine)
        log.info("engine ready", extra={"model_type": self._about["model_type"], "streams": self._about["streams"]})

    async def speak(self, order: Order) -> AsyncIterator[list[Any]]:
        """`Begun`, then the worker's messages of this job, those that wait together. Closed early, it is cancelled."""
        request = await self._shelf.request(order)
        yield [Begun(self._about["sample_rate"])]
        messages = self._streams.speak(request, order.request_id)
        try:
            async for some in messages:
                yield some
        finally:
            await messages.aclose()

    async def record_replica_metadata(self) -> Mapping[str, Any]:
        """What Serve passes on to each front end, once."""
        return self._about

    async def record_routing_stats(self) -> Mapping[str, Any]:
        """And this every second."""
        rank = serve.get_replica_context().rank
        return {
            "rank": rank.rank if rank else 0,
            "running": self._streams.running,
            "counters": self._streams.counters,
        }

    async def check_health(self) -> None:
        """Ends the process where the engine has work and gives no sign of life: Serve would ask two times more."""
        self._streams.check(self._stall_timeout_s)

    async def __del__(self) -> None:
        """Serve calls it when every job has been answered to its end."""
        if hasattr(self, "_streams"):
            await asyncio.to_thread(self._streams.close)


def _about(engine: Any) -> dict[str, Any]:
    """Plain values alone, as a worker's Ready has them."""
    context, runtime = serve.get_replica_context(), ray.get_runtime_context()
    details = {str(name): str(value) for name, value in engine.details.items()}
    return {
        "replica": context.replica_id.unique_id,
        "pid": os.getpid(),
        "gpus": ",".join(map(str, runtime.get_accelerator_ids().get("GPU", ()))),
        "model_type": str(engine.model_type),
        "sample_rate": int(engine.sample_rate),
        "streams": int(engine.streams),
        "details": {**details, "node": runtime.get_node_id(), "replica": context.replica_id.unique_id},
    }


def _break_off(reason: str) -> NoReturn:
    """Not even a flush of Ray's: another thread may hold a lock for ever."""
    log.critical("%s", reason)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(1)
