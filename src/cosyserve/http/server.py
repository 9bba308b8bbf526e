"""Serving: the socket, Hypercorn, and what signals do."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable

import anyio.to_thread
import structlog
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from cosyserve.check.engines import Choice
from cosyserve.http import allocator
from cosyserve.http.app import build_app
from cosyserve.http.collector import collect_when_quiet, settle
from cosyserve.http.control import open_control
from cosyserve.http.front import Front
from cosyserve.http.last_resort import LastResort
from cosyserve.http.listener import listen
from cosyserve.http.rehearsal import shortfalls
from cosyserve.http.reload import Premises, Reloader
from cosyserve.http.service import Service
from cosyserve.http.transport.connection import House
from cosyserve.http.transport.descriptors import raise_limit, room_for_connections
from cosyserve.http.transport.door import open_door
from cosyserve.settings import environment
from cosyserve.settings.sections import Settings
from cosyserve.watch.logs import configure

END_S = 30.0
"""What everything else may take at the end together, beside the grace, before the process is ended by force."""

log = structlog.get_logger(__name__)


def serve(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Run the service until a signal. Returns the exit status. Raises SettingsError before anything is started.

    reread: the settings as they are by then, for SIGHUP; raises SettingsError.
    """
    allocator.keep_little()
    listener = listen(settings)
    # Before the first helper: what libraries print is a record from its first line on.
    records = configure(settings.log.level, settings.log.format)
    try:
        front = Front(build_app(settings))
        settle()
        records.on_drop = front.service.reporter.metrics.log_records_dropped.inc
        last_resort = LastResort(lambda: _kill(front.service))
        room = _room(settings)
        premises = Premises(front, _house(front, room), listener, room)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(premises, last_resort, Reloader(premises, settings, reread)))
    finally:
        if not records.finish():
            # Nobody reads the log: the interpreter's end would wait for it.
            os._exit(0)
    return 0


async def _serve(premises: Premises, last_resort: LastResort, reloader: Reloader) -> None:
    front, house, listener, _ = premises
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            _kill(front.service)
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, reloader.wanted.set)

    async def until_stopped() -> None:
        chores = [asyncio.create_task(chore) for chore in (reloader.watch(), collect_when_quiet())]
        await stop.wait()
        for chore in chores:
            chore.cancel()
        last_resort.arm(front.service.settings.server.shutdown_grace_s + END_S)
        await _stop(front.service)

    _announce(front.service.settings, front.service.choice, listener)
    alive = front.app.router.lifespan_context(front.app)
    try:
        async with alive, open_door(listener, house), open_control(reloader, listener.getsockname()[1]):
            await until_stopped()
    finally:
        # Whatever went wrong above, no process may outlive this one.
        _kill(front.service)


def _kill(service: Service) -> None:
    service.pool.kill()
    service.helpers.kill()


async def _stop(service: Service) -> None:
    """Let running streams finish, then send the workers and the helpers home.

    The socket stays open meanwhile: /health can say `stopping`, and new requests are told to come back later.
    """
    pool, grace_s = service.pool, service.settings.server.shutdown_grace_s
    log.info("stopping", running=pool.state.running, waiting=pool.state.waiting, grace_s=grace_s)
    pool.stop()
    try:
        async with asyncio.timeout(grace_s):
            await pool.drained()
    except TimeoutError:
        log.warning("streams cut off at the end of the grace", running=pool.state.running, waiting=pool.state.waiting)
    await pool.close()
    # Whose recording is still being decoded hears of it while there is a socket.
    await anyio.to_thread.run_sync(service.helpers.close)
    log.info("stopped")


def _room(settings: Settings) -> int:
    """How many connections leave something for pipes, files and voices."""
    limit = raise_limit()
    room, wanted = room_for_connections(limit, settings.workers.count), settings.server.max_connections
    if room < wanted:
        log.warning("the limit of open files is low: raise it (ulimit -n, LimitNOFILE)", limit=limit, connections=room)
    return room


def _house(front: Front, room: int) -> House:
    settings, config = front.service.settings, Config()
    config.errorlog = None
    config.include_server_header = False
    config.websocket_max_message_size = settings.websocket.max_message_bytes
    server = settings.server
    return House(front, config, WorkerContext(None), server.keep_alive_s, min(room, server.max_connections))


def _announce(settings: Settings, choice: Choice, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log.info(f"serving on http://{shown}:{port}", engine=choice.engine, workers=settings.workers.count)
    if choice.why:
        log.info(f"the engine is {choice.engine}: {choice.why}")
    if choice.engine == "demo":
        log.warning("the engine demo speaks with espeak-ng's voice, not CosyVoice's: it is for trying the service out")
    for note in environment.notes(os.environ):
        log.warning(note)
    for finding in shortfalls(settings):
        log.warning(f"{finding.text}: {finding.remedy}")
