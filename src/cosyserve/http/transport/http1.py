"""HTTP/1.1 under the application: Hypercorn's, with neither HTTP/2 nor h2c, and with ends that tell the truth."""

import asyncio
from http import HTTPStatus
from typing import Any, cast

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState

from cosyserve.http.transport import straight, websocket
from cosyserve.http.transport.inlet import Inlet
from cosyserve.watch.lines import tell_unread

VERSIONS = {b"1.0", b"1.1"}


class Http1(H11Protocol):
    """One connection's. The arguments after `inlet` are Hypercorn's."""

    def __init__(self, inlet: Inlet, *plumbing: Any) -> None:
        super().__init__(*plumbing)
        self._inlet = inlet

    @property
    def has_more(self) -> bool:
        """Whether a part of the next request has come."""
        return bool(self.connection.trailing_data[0])

    def in_body(self, number: int) -> bool:
        """Whether the answer to the request of this number is under way."""
        under_way = self.stream is not None and self.connection.our_state is h11.SEND_BODY
        return under_way and self.keep_alive_requests == number

    async def handle(self, event: Event) -> None:
        """Called by Hypercorn. What comes while nothing is wanted any more is never parsed."""
        if not (isinstance(event, RawData) and self._inlet.dropping):
            await super().handle(event)

    async def _handle_events(self) -> None:
        while not self._inlet.dropping:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                # One of the frames that it passed through holds it, and one holds the connection.
                error.__traceback__ = None
                await self._refuse(error.error_status_hint)
                return
            if not await self._take(event):
                return
            # A read may hold thousands of chunks.
            await asyncio.sleep(0)

    async def _take(self, event: h11.Event | Data | type[h11.NEED_DATA] | type[h11.PAUSED]) -> bool:
        """Whether to go on parsing."""
        if isinstance(event, h11.Request):
            return await self._begin(event)
        if event is h11.PAUSED:
            return await self._turn_comes()
        if self.stream is None:
            return False
        match event:
            case h11.Data():
                await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
            case h11.EndOfMessage():
                await self._end_of_request()
            case Data():
                await self.stream.handle(event)
            case _:
                return False
        return True

    async def _begin(self, request: h11.Request) -> bool:
        await self.send(Updated(idle=False))
        if (request.method, request.http_version) == (b"PRI", b"2.0"):
            # The preface of HTTP/2, to which no answer of ours would be understood.
            await self.send(Closed())
        elif request.http_version not in VERSIONS:
            await self._refuse(505)
        elif websocket.is_asked_for(list(request.headers), request.method):
            await self._begin_websocket(request)
        else:
            await self._begin_stream(request, HTTPStream(*self._plumbing()))
        return self.stream is not None

    async def _begin_websocket(self, request: h11.Request) -> None:
        if not websocket.is_readable(list(request.headers)):
            await self._refuse(400)
            return
        self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        await self._begin_stream(request, websocket.WebSocketStream(self._inlet, *self._plumbing()))

    async def _begin_stream(self, request: h11.Request, stream: HTTPStream | websocket.WebSocketStream) -> None:
        self.stream = stream
        self.keep_alive_requests += 1
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                # With nothing on offer, no extension is ever agreed upon.
                headers=[(name, value) for name, value in request.headers if name != websocket.OFFER],
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self._state(request),
            )
        )

    def _state(self, request: h11.Request) -> ConnectionState:
        """What its scope begins with."""
        if request.http_version != b"1.1" or request.method == b"HEAD":
            return ConnectionState({})
        return ConnectionState({straight.KEY: straight.Straight(self, self.keep_alive_requests, self._inlet)})

    def _plumbing(self) -> tuple[Any, ...]:
        """What Hypercorn's streams are made of."""
        where = (self.ssl, self.client, self.server)
        return (self.app, self.config, self.context, self.task_group, *where, self.stream_send, STREAM_ID)

    async def _end_of_request(self) -> None:
        if self.connection.their_state is h11.MUST_CLOSE:
            # The last of this connection, as the client said itself: no byte after it can be an error.
            self._inlet.drop()
        assert self.stream is not None
        await self.stream.handle(EndBody(stream_id=STREAM_ID))

    async def _turn_comes(self) -> bool:
        """Wait until the request before this one is answered. False where nobody waits for this one's answer."""
        await self.can_read.clear()
        turn = asyncio.ensure_future(self.can_read.wait())
        try:
            with self._inlet.held_back():
                await asyncio.wait((turn, self._inlet.ended), return_when=asyncio.FIRST_COMPLETED)
            return turn.done()
        finally:
            turn.cancel()

    async def _refuse(self, status: int) -> None:
        """Answer, if there is no answer yet, and end the connection."""
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send_error_response(status)
        if self.stream is None:
            tell_unread(status, HTTPStatus(status).name.lower(), self.client and self.client[0])
        self._inlet.drop(lingers=True)
        await self.send(Closed())
        await self._close_stream()

    async def _maybe_recycle(self) -> None:
        if self._is_cut_off():
            # Without chunks a close is the end of a whole answer.
            self._inlet.reset()
        if not self._inlet.dropping:
            await super()._maybe_recycle()
            return
        await self._close_stream()
        await self.can_read.set()
        await self.send(Closed())

    def _is_cut_off(self) -> bool:
        connection = self.connection
        return (
            isinstance(connection, h11.Connection)
            and connection.our_state is h11.SEND_BODY
            and connection.their_http_version == b"1.0"
        )
