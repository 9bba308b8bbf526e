"""Where `cosyserve reload` asks: a local socket that answers the service's own user and root alone."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from cosyserve.http.reload import Reloader, ReloadRefused
from cosyserve.wire.control import RELOAD, Control, line

MOST_WAITING = 8
"""Who comes beyond it is refused."""
ASKS_WITHIN_S = 10.0
_CREDENTIALS = struct.Struct("3i")

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_control(reloader: Reloader, port: int) -> AsyncIterator[None]:
    """Reloads can be asked for while this is entered. Where the socket cannot be had, SIGHUP remains."""
    desk = _Desk(reloader)
    try:
        server = await asyncio.start_unix_server(desk.answer, Control(os.getpid(), port).address)
    except OSError as error:
        log.warning("`cosyserve reload` will not find this server", reason=str(error))
        yield
        return
    try:
        yield
    finally:
        server.close()


class _Desk:
    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader
        self._waiting = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Whoever asks may hang up: the reload goes on."""
        self._waiting += 1
        try:
            writer.write(await self._answer(reader, writer.get_extra_info("socket")))
            with suppress(OSError):
                await writer.drain()
        finally:
            self._waiting -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, peer: socket.socket) -> bytes:
        if _user(peer) not in {0, os.geteuid()}:
            return line("the server is another user's: be that user, or root", taken=False)
        if self._waiting > MOST_WAITING:
            return line(f"{MOST_WAITING} reloads wait already", taken=False)
        try:
            async with asyncio.timeout(ASKS_WITHIN_S):
                asked = await reader.readline()
        except (TimeoutError, OSError, ValueError):
            asked = b""
        if asked != RELOAD:
            return line("this is not what this server's version understands", taken=False)
        try:
            *told, last = await self._reloader.reload()
        except ReloadRefused as refusal:
            return line(str(refusal), taken=False)
        return b"".join(map(line, told)) + line(last, taken=True)


def _user(peer: socket.socket) -> int:
    sent = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(sent)[1]
    return user
