"""Serving: the socket, Hypercorn, and what signals do."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from typing import cast

import structlog
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config, Sockets
from hypercorn.typing import Framework
from starlette.applications import Starlette

from cosyserve.http import allocator, websocket_buffer
from cosyserve.http.app import build_app
from cosyserve.http.last_resort import LastResort
from cosyserve.http.service import Service
from cosyserve.pool.seam import SpeechPool
from cosyserve.settings import Settings, SettingsError
from cosyserve.watch.logs import configure

BACKLOG = 1024
FLUSH_S = 3.0
"""What Hypercorn gives connections once every stream has been answered."""
END_S = 30.0
"""What everything else may take at the end together, beside the grace, before the process is ended by force."""
UNSENT_BYTES = 64 * 1024
"""What the kernel holds of an answer before it is sent; all else waits where it is counted."""
LOOPBACK = ("127.", "::1")

log = structlog.get_logger(__name__)


class _BoundConfig(Config):
    """Hypercorn with a socket of ours: bound before any worker is spawned, so that a taken port costs nothing."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self._listener = listener

    def create_sockets(self) -> Sockets:
        return Sockets(secure_sockets=[], insecure_sockets=[self._listener], quic_sockets=[])


def serve(settings: Settings) -> int:
    """Run the service until a signal. Returns the exit status. Raises SettingsError before anything is started."""
    allocator.keep_little()
    app = build_app(settings)
    listener = _listen(settings)
    service: Service = app.state.service
    dropped = service.reporter.metrics.log_records_dropped
    records = configure(settings.log.level, settings.log.format, dropped.inc)
    last_resort = LastResort(service.pool.kill)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(app, service, listener, last_resort))
    finally:
        if not records.finish():
            # Nobody reads the log: the interpreter's end would wait for it.
            os._exit(0)
    return 0


async def _serve(app: Starlette, service: Service, listener: socket.socket, last_resort: LastResort) -> None:
    settings, pool = service.settings, service.pool
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            pool.kill()
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)

    async def until_stopped() -> None:
        await stop.wait()
        last_resort.arm(settings.server.shutdown_grace_s + END_S)
        await _stop(pool, settings.server.shutdown_grace_s)

    websocket_buffer.install()
    _announce(settings, listener)
    try:
        await hypercorn_serve(
            cast(Framework, app), _hypercorn_config(listener, settings), shutdown_trigger=until_stopped
        )
    finally:
        # Whatever went wrong above, no worker may outlive this process.
        pool.kill()


async def _stop(pool: SpeechPool, grace_s: float) -> None:
    """Let running streams finish, then send the workers home.

    The socket stays open meanwhile: /health can say `stopping`, and new requests are told to come back later.
    """
    log.info("stopping", running=pool.state.running, waiting=pool.state.waiting, grace_s=grace_s)
    pool.stop()
    try:
        async with asyncio.timeout(grace_s):
            await pool.drained()
    except TimeoutError:
        log.warning("streams cut off at the end of the grace", running=pool.state.running, waiting=pool.state.waiting)
    await pool.close()
    log.info("stopped")


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.server.host, settings.server.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; "
            "choose another with --port, --host or [server] in config.toml"
        ) from error
    # Accepted sockets inherit these.
    # asyncio would see to it, were it not that sockets made so have no protocol number: a chunk must not wait for the
    # acknowledgement of the one before, which a client's kernel delays by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The kernel gives up on a peer that reads nothing for as long as the service does: a close waits for full buffers
    # to empty, so nothing else would end that connection.
    timeout_ms = int(settings.server.client_stall_timeout_s * 1000)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, timeout_ms))
    # Else it takes megabytes, and no more before a third of them is gone: a player, which reads at the pace of speech,
    # would pass for one that reads nothing.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    listener.setblocking(False)
    return listener


def _hypercorn_config(listener: socket.socket, settings: Settings) -> Config:
    config = _BoundConfig(listener)
    config.backlog = BACKLOG
    config.graceful_timeout = FLUSH_S
    config.websocket_max_message_size = settings.websocket.max_message_bytes
    config.include_server_header = False
    errors = logging.getLogger("hypercorn.error")
    errors.setLevel(logging.WARNING)
    config.errorlog = errors
    return config


def _announce(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log.info(f"serving on http://{shown}:{port}", engine=settings.model.engine, workers=settings.workers.count)
    if settings.model.engine == "demo":
        log.warning("the engine demo speaks with espeak-ng's voice, not CosyVoice's: it is for trying the service out")
    if not host.startswith(LOOPBACK) and not (settings.server.api_keys or settings.server.api_keys_file):
        log.warning("open to the network without an API key: set server.api_keys, or keep a proxy in front", host=host)
