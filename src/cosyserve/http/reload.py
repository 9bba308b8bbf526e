"""Reading the configuration again while the service runs. A reload is taken whole, or nothing changes.

What workers need is done first, because it can fail; then all else changes between two steps of the event loop.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio.to_thread
import structlog

from cosyserve.http.app import application
from cosyserve.http.changes import check_changeable, differences
from cosyserve.http.front import Front
from cosyserve.http.listener import give_up_after
from cosyserve.http.opening import adjust, renewed
from cosyserve.http.rehearsal import shortfalls
from cosyserve.http.service import Service
from cosyserve.http.transport.connection import House
from cosyserve.pool.exchange import ExchangeFailed
from cosyserve.settings.sections import Settings, SettingsError

log = structlog.get_logger(__name__)


class ReloadRefused(Exception):
    """Nothing has changed; the message says why."""


class Premises(NamedTuple):
    """What a reload changes beside the service itself. room: for so many connections at most."""

    front: Front
    house: House
    listener: socket.socket
    room: int

    def become(self, service: Service) -> None:
        """That of this service from the next request on. Does not fail."""
        settings = service.settings
        adjust(service)
        self.front.app = application(service)
        self.house.keep_alive_s = settings.server.keep_alive_s
        self.house.max_connections = min(self.room, settings.server.max_connections)
        self.house.config.websocket_max_message_size = settings.websocket.max_message_bytes
        give_up_after(self.listener, settings.server.client_stall_timeout_s)


class Reloader:
    """configured: the settings that the service was started with. reread: gives those of now, raises SettingsError.

    wanted: set it to have it done and told in the log alone; several times before it is done are one.
    """

    def __init__(self, premises: Premises, configured: Settings, reread: Callable[[], Settings]) -> None:
        self._premises = premises
        self._configured = configured
        self._reread = reread
        self._turn = asyncio.Lock()
        self.wanted = asyncio.Event()

    async def watch(self) -> None:
        """Reload whenever it is wanted, until cancelled."""
        while True:
            await self.wanted.wait()
            self.wanted.clear()
            # What becomes of it is in the log.
            with contextlib.suppress(ReloadRefused):
                await self.reload()

    async def reload(self) -> list[str]:
        """Do it, after those that came before. Returns what an operator should know. Raises ReloadRefused."""
        async with self._turn:
            reloads = self._premises.front.service.reporter.metrics.reloads
            try:
                told = await self._take()
            except (SettingsError, ExchangeFailed) as error:
                reloads.labels("refused").inc()
                log.error("the configuration was not reloaded", reason=" ".join(str(error).split()))  # noqa: TRY400
                raise ReloadRefused(str(error)) from error
            except Exception as fault:
                # Whatever it was: the service was running before, and goes on.
                reloads.labels("refused").inc()
                log.exception("the configuration was not reloaded")
                raise ReloadRefused("an internal error; the server's log has the details") from fault
            reloads.labels("taken").inc()
            return told

    async def _take(self) -> list[str]:
        service = self._premises.front.service
        if service.pool.stopping.is_set():
            raise ExchangeFailed("the service is stopping")
        configured = await anyio.to_thread.run_sync(self._reread)
        check_changeable(self._configured, configured)
        new = await anyio.to_thread.run_sync(renewed, service, configured)
        workers = await service.pool.hand_over(new.settings)
        changed = sorted(differences(self._configured, configured))
        self._premises.become(new)
        self._configured = configured
        warnings = await anyio.to_thread.run_sync(_look_around, new)
        return _tell(new, changed, workers, warnings)


def _look_around(service: Service) -> list[str]:
    """Which voices there are, and what the service goes without: may block."""
    service.voices.rescan()
    service.voices.preload(service.settings.voices.preload)
    return [f"{finding.text}: {finding.remedy}" for finding in shortfalls(service.settings)]


def _tell(service: Service, changed: Sequence[str], workers: str, warnings: Sequence[str]) -> list[str]:
    """To the log and to whoever asked."""
    generation = service.pool.state.generation
    log.info(
        "the configuration was reloaded",
        generation=generation,
        changed=changed,
        workers=workers or "unchanged",
        keys=len(service.keys),
        voices=len(service.voices.listing()),
        log_level=service.settings.log.level,
    )
    for warning in warnings:
        log.warning(warning)
    return [
        f"generation {generation}",
        f"changed: {', '.join(changed) or 'no setting; keys, voices, prompt and lexicon were read again'}",
        f"workers: {workers or 'unchanged'}",
        *(f"warning: {warning}" for warning in warnings),
    ]
