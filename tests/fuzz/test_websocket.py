"""Sessions whose client says anything: messages of any shape, frames of any kind, and offers at the opening."""

import contextlib
import itertools
import json
import struct
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from tests.fuzz.exploring import examples, explore
from tests.fuzz.test_json import trees
from tests.fuzz.values import encoded, mutated, texts
from tests.fuzz.witness import FAIR_CLOSES, Witness
from tests.http.sessions import PATH, Client, session
from tests.http.wire import LEAVES, Leave, connect, head, receive_until

KINDS = ("session.config", "input.text", "input.done", "input.cancel", "response.create", "", "error")
KNOWN = {"audio.start", "audio.done", "session.done", "input.cancelled", "error"}
FIELDS = (
    "text",
    "voice",
    "response_format",
    "sample_rate",
    "speed",
    "instructions",
    "seed",
    "ref_audio",
    "type",
    "other",
)

Frame = str | bytes


def as_frame(message: Any) -> str:
    return json.dumps(message)


def messages() -> SearchStrategy[Frame]:
    """What a text frame may hold; bytes go as text too, whether or not they are UTF-8."""
    plain = st.sampled_from(
        [
            {"type": "input.text", "text": "hello. "},
            {"type": "input.done"},
            {"type": "input.cancel"},
            {"type": "session.config"},
            {"type": "session.config", "response_format": "mp3", "sample_rate": 24_000, "seed": 1},
        ]
    )
    odd = st.builds(
        lambda kind, fields: {**fields, "type": kind},
        st.one_of(st.sampled_from(KINDS), trees()),
        st.dictionaries(st.sampled_from(FIELDS), trees(), max_size=4),
    )
    said = st.builds(lambda text: {"type": "input.text", "text": text}, texts(5000))
    any_json = st.one_of(plain, plain, said, odd).map(as_frame)
    return st.one_of(
        any_json,
        mutated(any_json.map(encoded)),
        trees().map(as_frame),
        st.binary(max_size=40),
        st.sampled_from(["[" * 50_000, '{"type":' * 9000, "x" * 70_000, "1" * 9999]),
    )


class TestMessages:
    """One that is refused ends nothing, or the session alone."""

    @examples(50, 3000)
    def test_of_any_shape(self, witness: Witness, count: int) -> None:
        marks = (f"mark{number}" for number in itertools.count())
        explore(
            st.lists(st.tuples(messages(), st.booleans()), max_size=8),
            count,
            lambda said: speak(witness, said, next(marks)),
        )


def speak(witness: Witness, said: list[tuple[Frame, bool]], mark: str) -> None:
    """Say it, and hear everything up to the refusal of a message that nobody else sends."""
    with session(witness.server) as client:
        code = CloseCode.NORMAL_CLOSURE
        try:
            for frame, is_binary in said:
                client.connection.send(encoded(frame) if isinstance(frame, str) else frame, text=not is_binary)
            client.send(mark)
            hear(witness, client, mark)
        except ConnectionClosed as closed:
            code = CloseCode.ABNORMAL_CLOSURE if closed.rcvd is None else CloseCode(closed.rcvd.code)
    assert code in FAIR_CLOSES
    witness.case()


def hear(witness: Witness, client: Client, mark: str) -> None:
    told = ""
    while mark not in told:
        heard = client.until("error")
        for message in heard.messages:
            assert message["type"] in KNOWN
            witness.told(message)
        told = heard.messages[-1]["error"]["message"]


@dataclass(frozen=True)
class RawFrame:
    """A frame as it may not be. length: what it claims; None tells the truth. masked: clients must."""

    first: int
    payload: bytes
    length: int | None
    masked: bool

    def on_the_wire(self) -> bytes:
        """Its bytes, masked with zeros."""
        size = len(self.payload) if self.length is None else self.length
        mask = 0x80 if self.masked else 0
        if size < 126:
            told = bytes([mask | size])
        elif size < 2**16:
            told = bytes([mask | 126]) + struct.pack(">H", size)
        else:
            told = bytes([mask | 127]) + struct.pack(">Q", size)
        return bytes([self.first]) + told + (bytes(4) if self.masked else b"") + self.payload


def frames() -> SearchStrategy[bytes]:
    """Text, continuation, close, ping and what is none, with the reserved bits or without."""
    first = st.one_of(
        st.sampled_from([0x81, 0x81, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0x82]), st.integers(0, 255)
    )
    content = st.one_of(
        messages().map(lambda said: encoded(said) if isinstance(said, str) else said), st.binary(max_size=200)
    )
    lie = st.one_of(st.none(), st.none(), st.sampled_from([0, 1, 125, 126, 70_000, 2**31, 2**63 - 1, 2**64 - 1]))
    whole = st.builds(RawFrame, first, content, lie, st.sampled_from([True, True, True, False]))
    return st.one_of(whole.map(lambda frame: frame.on_the_wire()), st.binary(max_size=60))


OPENING = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
OFFERS = (
    "permessage-deflate", "permessage-deflate; client_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=99",
    'permessage-deflate; client_max_window_bits="', "permessage-deflate;;", "x-webkit-deflate-frame", ",", "",
    "a" * 5000,
    "permessage-deflate, permessage-deflate; x=y", "; ", "permessage-deflate; server_no_context_takeover=1",
)  # fmt: skip


@st.composite
def openings(draw: st.DrawFn) -> bytes:
    """The request that asks for a session, with a header missing or odd."""
    headers = dict(OPENING)
    if draw(st.booleans()):
        headers["Sec_WebSocket_Extensions"] = draw(st.sampled_from(OFFERS))
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from([*OPENING, "Sec_WebSocket_Protocol", "Origin", "Content_Length"]))
        headers[name] = draw(
            st.sampled_from(["", "0", "13, 8", "x", "h2c", "http://[", "null", "websocket, h2c", "é", "5"])
        )
    line = draw(
        st.one_of(
            st.just(f"GET {PATH} HTTP/1.1"),
            st.sampled_from([f"POST {PATH} HTTP/1.1", f"GET {PATH} HTTP/1.0", f"GET {PATH}?api_key=%ff HTTP/1.1"]),
        )
    )
    return head(line, **headers)


class TestFrames:
    """Whoever knows no rules is closed on, and nothing stays behind."""

    @examples(50, 3000)
    def test_of_any_kind(self, witness: Witness, count: int) -> None:
        cases = st.tuples(openings(), st.lists(frames(), max_size=10), st.sampled_from(LEAVES))
        explore(cases, count, lambda case: shove(witness, *case))


def shove(witness: Witness, opening: bytes, pieces: list[bytes], leave: Leave) -> None:
    """Send it all, whatever comes back."""
    with connect(witness.server) as connection:
        connection.sendall(opening)
        try:
            answer = receive_until(connection, b"\r\n\r\n")
        except AssertionError:
            answer = b""
        witness.raw(answer)
        assert b"sec-websocket-extensions" not in answer.lower()
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"".join(pieces))
            leave(connection)
    witness.case()
