"""The front end as a deployment of Ray Serve: the application on its node's port, by our own server.

Serve keeps it alive, drains and replaces it; what it serves does not pass through Serve's HTTP proxy, which would end a
broken stream like a whole one.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from ray import serve

from cosyserve.cluster.arguments import Source
from cosyserve.cluster.fleet import Fleet
from cosyserve.cluster.names import ENGINE
from cosyserve.cluster.pool import ClusterPool
from cosyserve.cluster.seen import replicas
from cosyserve.cluster.told import told_of
from cosyserve.http import allocator
from cosyserve.http.app import application
from cosyserve.http.listener import listen
from cosyserve.http.opening import open_service
from cosyserve.http.premises import announce, doing_chores, furnish, open_premises, see_off, url_of
from cosyserve.http.reload import Premises, Reloader
from cosyserve.settings.sections import Settings
from cosyserve.watch.logs import configure


class Front:
    """What Serve makes in each replica. engine: Serve's handle of the engines' deployment."""

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, settings: Settings, source: Source, engine: Any
    ) -> None:
        """Raises SettingsError."""
        allocator.keep_little()
        # Shared: the next one may listen before this one has gone, and several nodes may be on one machine.
        listener = listen(settings, shared=True)
        self._records = configure(settings.log.level, settings.log.format)
        service = await asyncio.to_thread(open_service, settings, partial(_pool, engine))
        self._premises = furnish(application(service), listener, self._records)
        self._url = url_of(listener)
        self._leave = asyncio.Event()
        opened = asyncio.Event()
        reloader = Reloader(self._premises, settings, partial(source.read_again, settings))
        self._serving = asyncio.create_task(_serve(self._premises, reloader, opened.set, self._leave))
        await _first(self._serving, opened)

    def url(self) -> str:
        """Where it serves."""
        return self._url

    async def check_health(self) -> None:
        """Raises what has ended it."""
        if self._serving.done() and not self._leave.is_set():
            self._serving.result()

    async def __del__(self) -> None:
        """Serve calls it where the replica is to go, and waits `graceful_shutdown_timeout_s`."""
        if hasattr(self, "_serving"):
            self._leave.set()
            await self._serving
            await asyncio.to_thread(self._records.finish)


async def _serve(premises: Premises, reloader: Reloader, opened: Callable[[], None], leave: asyncio.Event) -> None:
    announce(premises.front.service, premises.listener)
    async with open_premises(premises, reloader):
        opened()
        async with doing_chores(reloader):
            await leave.wait()
        await see_off(premises.front.service)


async def _first(serving: "asyncio.Task[None]", opened: asyncio.Event) -> None:
    """Wait until it serves. Raises what keeps it from it."""
    waiting = asyncio.create_task(opened.wait())
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        serving.result()


def _pool(engine: Any, settings: Settings) -> ClusterPool:
    application_name = serve.get_replica_context().app_name
    # Asked for its options, the handle begins to learn of the replicas.
    speak = engine.options(method_name="speak", stream=True).remote
    return ClusterPool(settings, speak, Fleet(replicas, partial(told_of, application_name, ENGINE)))
