"""A WebSocket under the application: no extensions, messages within their bound, and silence after a refusal."""

import asyncio
from typing import Any

from hypercorn.protocol import ws_stream
from hypercorn.protocol.events import Data, Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.typing import ASGISendEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.events import Event as Frame
from wsproto.frame_protocol import CloseReason

from cosyserve.http.transport.inlet import Inlet

IN_ASCII = {b"connection", b"sec-websocket-protocol"}
OFFER = b"sec-websocket-extensions"
ENDED = {ASGIWebsocketState.CLOSED, ASGIWebsocketState.HTTPCLOSED}


def is_asked_for(request_headers: list[tuple[bytes, bytes]], method: bytes) -> bool:
    """Whether a request wants to become a WebSocket."""
    headers = dict(request_headers)
    tokens = (token.strip() for token in headers.get(b"connection", b"").lower().split(b","))
    return method == b"GET" and b"upgrade" in tokens and headers.get(b"upgrade", b"").strip().lower() == b"websocket"


def is_readable(request_headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether Hypercorn can decode what it has to."""
    return all(value.isascii() for name, value in request_headers if name in IN_ASCII)


class BoundedBuffer(ws_stream.WebsocketBuffer):
    """Keeps nothing over the limit. Hypercorn's stores a piece before it looks at it."""

    def extend(self, event: Message[Any]) -> None:
        """Raises FrameTooLargeError."""
        if self.length + len(event.data) > self.max_length:
            self.clear()
            raise FrameTooLargeError
        super().extend(event)


class WebSocketStream(WSStream):
    """Hypercorn's, from the request for an upgrade to the last frame. The arguments after `inlet` are its own."""

    def __init__(self, inlet: Inlet, *plumbing: Any) -> None:
        super().__init__(*plumbing)
        self.buffer = BoundedBuffer(self.config.websocket_max_message_size)
        self._inlet = inlet
        self._decided = asyncio.Event()
        """Whether there is an answer to the upgrade."""

    async def handle(self, event: Event) -> None:
        """Called by Hypercorn."""
        if isinstance(event, Data):
            await self._take(event)
            return
        await super().handle(event)
        if isinstance(event, Request) and self.closed:
            await self._end()

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Called by Hypercorn."""
        try:
            await super().app_send(message)
        finally:
            if self.closed or self.state is not ASGIWebsocketState.HANDSHAKE:
                self._decided.set()
        if self.state in ENDED:
            self._inlet.drop(lingers=True)

    async def _take(self, event: Data) -> None:
        """Frames that came before the answer to the upgrade wait for it."""
        await self._decided.wait()
        if self.state is ASGIWebsocketState.CONNECTED:
            await super().handle(event)

    async def _handle_events(self) -> None:
        for frame in self.connection.events():
            await self._take_frame(frame)
            if self._inlet.dropping:
                return
            # A read may hold thousands of frames, and an answer to each.
            await asyncio.sleep(0)

    async def _take_frame(self, frame: Frame) -> None:
        match frame:
            case Message():
                await self._take_piece(frame)
            case Ping():
                await self._send_wsproto_event(frame.response())
            case CloseConnection():
                await self._goodbye(frame)

    async def _take_piece(self, piece: Message[Any]) -> None:
        try:
            self.buffer.extend(piece)
        except FrameTooLargeError:
            await self._goodbye(CloseConnection(CloseReason.MESSAGE_TOO_BIG))
            return
        if piece.message_finished:
            message = self.buffer.to_message()
            self.buffer.clear()
            assert self.app_put is not None
            await self.app_put(message)

    async def _goodbye(self, farewell: CloseConnection) -> None:
        """The client's, which is returned, or ours for what it did."""
        if self.connection.state is not ConnectionState.CLOSED:
            await self._send_wsproto_event(farewell)
        await self._end()

    async def _end(self) -> None:
        self._inlet.drop(lingers=True)
        await self.send(StreamClosed(stream_id=self.stream_id))
