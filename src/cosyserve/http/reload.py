"""Reading the configuration again while the service runs: keys, stored voices and the log's level."""

import asyncio
from collections.abc import Callable

import anyio.to_thread
import structlog

from cosyserve.http.access import load_keyring
from cosyserve.http.rehearsal import shortfalls
from cosyserve.http.service import Service
from cosyserve.settings.sections import Settings
from cosyserve.wire.logs import set_level

RELOADED = frozenset({"server.api_keys", "server.api_keys_file", "log.level"})

log = structlog.get_logger(__name__)


class Reloader:
    """configured: the settings that the service was started with. reread: gives those of now, raises SettingsError.

    wanted: set it to have it done; several times before it is done are one.
    """

    def __init__(self, service: Service, configured: Settings, reread: Callable[[], Settings]) -> None:
        self._service = service
        self._configured = configured
        self._reread = reread
        self.wanted = asyncio.Event()

    async def watch(self) -> None:
        """Reload whenever it is wanted, until cancelled."""
        while True:
            await self.wanted.wait()
            self.wanted.clear()
            try:
                await self._reload()
            except Exception as error:
                # Whatever it was: the service was running before, and goes on.
                reason = " ".join(str(error).split())
                log.error("the configuration was not reloaded", reason=reason)  # noqa: TRY400 - an operator's mistake

    async def _reload(self) -> None:
        """Where anything is wrong, nothing changes."""
        settings = await anyio.to_thread.run_sync(self._reread)
        keys = await anyio.to_thread.run_sync(load_keyring, settings.server)
        await anyio.to_thread.run_sync(self._service.voices.rescan)
        self._service.keys.become(keys)
        set_level(settings.log.level)
        self._service.pool.set_log_level(settings.log.level)
        self._tell(settings, len(keys))

    def _tell(self, settings: Settings, keys: int) -> None:
        waiting = sorted(_differences(self._configured, settings) - RELOADED)
        voices = len(self._service.voices.listing())
        log.info("the configuration was reloaded", keys=keys, voices=voices, log_level=settings.log.level)
        if waiting:
            log.warning(f"these settings change at the next start: {', '.join(waiting)}")
        for finding in shortfalls(settings):
            log.warning(f"{finding.text}: {finding.remedy}")


def _differences(one: Settings, other: Settings) -> set[str]:
    """The keys, as `section.key`, in which they are not alike."""
    return {
        f"{section}.{key}"
        for section in Settings.model_fields
        for key in type(getattr(one, section)).model_fields
        if getattr(getattr(one, section), key) != getattr(getattr(other, section), key)
    }
