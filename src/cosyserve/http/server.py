"""Serving as a process of its own: the socket, the log, and what signals do."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from cosyserve.http import allocator
from cosyserve.http.app import build_app
from cosyserve.http.last_resort import LastResort
from cosyserve.http.listener import listen
from cosyserve.http.premises import announce, doing_chores, furnish, kill, open_premises, see_off
from cosyserve.http.reload import Premises, Reloader
from cosyserve.settings.sections import Settings
from cosyserve.watch.logs import configure

END_S = 30.0
"""What everything else may take at the end together, beside the grace, before the process is ended by force."""


def serve(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Run the service until a signal. Returns the exit status. Raises SettingsError before anything is started.

    reread: the settings as they are by then, for SIGHUP; raises SettingsError.
    """
    allocator.keep_little()
    listener = listen(settings)
    # Before the first helper: what libraries print is a record from its first line on.
    records = configure(settings.log.level, settings.log.format)
    try:
        premises = furnish(build_app(settings), listener, records)
        last_resort = LastResort(lambda: kill(premises.front.service))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(premises, last_resort, Reloader(premises, settings, reread)))
    finally:
        if not records.finish():
            # Nobody reads the log: the interpreter's end would wait for it.
            os._exit(0)
    return 0


async def _serve(premises: Premises, last_resort: LastResort, reloader: Reloader) -> None:
    front, stop = premises.front, asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            kill(front.service)
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, reloader.wanted.set)
    announce(front.service, premises.listener, workers=front.service.settings.workers.count)
    async with open_premises(premises, reloader):
        async with doing_chores(reloader):
            await stop.wait()
        last_resort.arm(front.service.settings.server.shutdown_grace_s + END_S)
        await see_off(front.service)
