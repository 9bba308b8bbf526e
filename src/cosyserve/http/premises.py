"""An application where clients meet it: its door, its chores, and how it is left, on whatever event loop."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
import structlog
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from starlette.applications import Starlette

from cosyserve.http.collector import collect_when_quiet, settle
from cosyserve.http.control import open_control
from cosyserve.http.front import Front
from cosyserve.http.rehearsal import shortfalls
from cosyserve.http.reload import Premises, Reloader
from cosyserve.http.service import Service
from cosyserve.http.transport.connection import House
from cosyserve.http.transport.descriptors import raise_limit, room_for_connections
from cosyserve.http.transport.door import open_door
from cosyserve.settings import environment
from cosyserve.settings.sections import Settings
from cosyserve.watch.logs import Records

log = structlog.get_logger(__name__)


def furnish(app: Starlette, listener: socket.socket, records: Records) -> Premises:
    """What is needed to serve it; the process is made ready for that. records: whose losses are counted."""
    front = Front(app)
    settle()
    records.on_drop = front.service.reporter.metrics.log_records_dropped.inc
    room = _room(front.service.settings)
    return Premises(front, _house(front, room), listener, room)


@asynccontextmanager
async def open_premises(premises: Premises, reloader: Reloader) -> AsyncIterator[None]:
    """Clients are served while this is entered; what runs the models starts with it, and none of it outlives it.

    Who leaves has seen the streams off (`see_off`), or they break.
    """
    app, listener = premises.front.app, premises.listener
    alive = app.router.lifespan_context(app)
    try:
        async with alive, open_door(listener, premises.house), open_control(reloader, listener.getsockname()[1]):
            yield
    finally:
        # Whatever went wrong above, no process may outlive this one.
        kill(premises.front.service)


@asynccontextmanager
async def doing_chores(reloader: Reloader) -> AsyncIterator[None]:
    """While this is entered, what was to be reloaded is, and garbage is collected."""
    chores = [asyncio.create_task(chore) for chore in (reloader.watch(), collect_when_quiet())]
    try:
        yield
    finally:
        for chore in chores:
            chore.cancel()


async def see_off(service: Service) -> None:
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


def kill(service: Service) -> None:
    """End whatever runs, now."""
    service.pool.kill()
    service.helpers.kill()


def announce(service: Service, listener: socket.socket, **fields: object) -> None:
    """Tell where it serves, and what an operator may not know. fields: more of the former."""
    settings, choice = service.settings, service.choice
    log.info(f"serving on {url_of(listener)}", engine=choice.engine, **fields)
    if choice.why:
        log.info(f"the engine is {choice.engine}: {choice.why}")
    if choice.engine == "demo":
        log.warning("the engine demo speaks with espeak-ng's voice, not CosyVoice's: it is for trying the service out")
    for note in environment.notes(os.environ):
        log.warning(note)
    for finding in shortfalls(settings):
        log.warning(f"{finding.text}: {finding.remedy}")


def url_of(listener: socket.socket) -> str:
    """Where it listens."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


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
