"""Attacks on the front end, each a round that ends by itself: what a client may choose the size of, at that size.

`benchmarks.storm` lets all of them loose at once. Each may be refused, closed on or reset at any byte; it raises
OSError then, and is begun anew.
"""

import base64
import json
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from tests import sounds
from tests.http.sessions import PATH
from tests.http.wire import MULTIPART, connect, half_close, head, post, post_form, reset, reset_on_close, speech
from tests.serving import Server

TRICKLE_S = 3.0
"""For how long slow clients hold on in one round."""
ANSWER_S = 30.0
"""How long an attacker waits for an answer before it goes."""
LIGATURE = "\ufdfa"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(frozen=True)
class Scale:
    """How much of the full attack: 1 is all of it."""

    factor: float = 1.0

    def of(self, full: int) -> int:
        """So many, and one at least."""
        return max(1, round(full * self.factor))


@contextmanager
def opened(server: Server) -> Iterator[socket.socket]:
    """A connection that waits for an answer, but not for ever."""
    with connect(server) as connection:
        connection.settimeout(ANSWER_S)
        yield connection


def ask(server: Server, request: bytes) -> None:
    """Send it and read whatever comes, up to the first piece."""
    with opened(server) as connection:
        connection.sendall(request)
        connection.recv(65536)


def charset(server: Server, scale: Scale) -> None:
    """Row 1: the codec is the client's, and quadratic."""
    body = (
        b'--cut\r\nContent-Disposition: form-data; name="text-"\r\n\r\n'
        + b"a-" * scale.of(200_000)
        + b"\r\n--cut--\r\n"
    )
    for codec in ("punycode", "idna", "undefined"):
        ask(server, post(body, f"{MULTIPART}; charset={codec}"))


def ligatures(server: Server, scale: Scale) -> None:
    """Row 2: a name that grows eighteenfold when it is normalised, on every surface."""
    name = LIGATURE * scale.of(500_000)
    ask(server, post(b"text=hello&voice=" + b"%EF%B7%BA" * scale.of(1_800_000)))
    ask(server, post_form(text=b"hello", voice=name.encode()))
    body = json.dumps({"input": "hello", "voice": name}, ensure_ascii=False).encode()
    ask(
        server,
        head("POST /v1/audio/speech HTTP/1.1", Content_Type="application/json", Content_Length=str(len(body))) + body,
    )


@lru_cache
def deflated(size: int) -> bytes:
    """So many zeros, as one compressed message's payload."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]


def frame(first: int, payload: bytes) -> bytes:
    """A WebSocket frame, masked with zeros."""
    size = len(payload)
    if size < 126:
        told = bytes([0x80 | size])
    elif size < 2**16:
        told = b"\xfe" + struct.pack(">H", size)
    else:
        told = b"\xff" + struct.pack(">Q", size)
    return bytes([first]) + told + bytes(4) + payload


def opening(**more: str) -> bytes:
    """The request for a session."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    return head(f"GET {PATH} HTTP/1.1", **upgrade, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", **more)


def inflation(server: Server, scale: Scale) -> None:
    """Row 3: 400 MB in 400 kB, in many sessions."""
    with ExitStack() as sessions:
        for _ in range(scale.of(20)):
            connection = sessions.enter_context(opened(server))
            connection.sendall(opening(Sec_WebSocket_Extensions="permessage-deflate"))
            connection.recv(4096)
            connection.sendall(frame(0xC1, deflated(scale.of(400_000_000))))


def done_without_end(server: Server, scale: Scale) -> None:
    """Row 4: utterances that were never begun, ended by the hundred thousand, and then text."""
    done, text = frame(0x81, b'{"type":"input.done"}'), frame(0x81, b'{"type":"input.text","text":"a"}')
    with opened(server) as connection:
        connection.sendall(opening())
        connection.recv(4096)
        for _ in range(scale.of(700)):
            connection.sendall(done * 1000)
        connection.sendall(text * 200)
        connection.recv(4096)


@lru_cache
def click() -> bytes:
    """A small file with much in it: 29.9 s at 192 kHz, one sample of which is not silent."""
    samples = np.zeros(int(29.9 * 192_000), np.float32)
    samples[1000] = 0.9
    return sounds.encode(samples, 192_000, "FLAC")


def dense_prompts(server: Server, scale: Scale) -> None:
    """Row 5: 110 of them at once."""
    request = post_form(text=b"hello", prompt_wav=click())
    with ExitStack() as clients:
        waiting = [clients.enter_context(opened(server)) for _ in range(scale.of(110))]
        for connection in waiting:
            connection.sendall(request)
        for connection in waiting:
            connection.recv(4096)


def slow_uploads(server: Server, scale: Scale) -> None:
    """Row 6: bodies of nearly the most there may be, whose last bytes come one at a time."""
    size = 16 * 2**20 - 4096
    audio = base64.b64encode(bytes(12_000)).decode()
    start = json.dumps({"input": "hello", "ref_audio": audio}).encode()[:-2] + b"A" * (size - 20_000)
    line = "POST /v1/audio/speech HTTP/1.1"
    request = head(line, Content_Type="application/json", Content_Length=str(size)) + start
    with ExitStack() as clients:
        slow = [clients.enter_context(opened(server)) for _ in range(scale.of(60))]
        held = [connection for connection in slow if _sent(connection, request)]
        give_up_at = time.monotonic() + TRICKLE_S
        while time.monotonic() < give_up_at:
            held = [connection for connection in held if _sent(connection, b"A")]
            time.sleep(TRICKLE_S / 5)


def _sent(connection: socket.socket, content: bytes) -> bool:
    try:
        connection.sendall(content)
    except OSError:
        return False
    return True


def percent_signs(server: Server, scale: Scale) -> None:
    """Row 7: an urlencoded body of the size of a recording."""
    ask(server, post(b"text=" + b"%E4%BD%A0" * scale.of(1_860_000)))


def http2(server: Server, scale: Scale) -> None:
    """Row 13: the preface or an offer of h2c, streams whose window is 0, and resets by the thousand."""
    window = b"\0\0\6\4\0\0\0\0\0" + b"\0\4\0\0\0\0"
    request = b"\x82\x86\x84\x41\1a"
    streams = b"".join(
        struct.pack(">I", len(request))[1:] + b"\1\5" + struct.pack(">I", 2 * number + 1) + request
        for number in range(50)
    )
    resets = b"".join(b"\0\0\4\3\0" + struct.pack(">II", 2 * number + 1, 8) for number in range(50))
    offer = head(
        "GET /health HTTP/1.1", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABkAAQAAP__"
    )
    with ExitStack() as clients:
        for number in range(scale.of(100)):
            connection = clients.enter_context(opened(server))
            begin = PREFACE if number % 2 else offer + PREFACE
            _sent(connection, begin + window + streams + resets * 8)


def pipelined(server: Server, scale: Scale) -> None:
    """Row 15: a second request behind the first, and a reset."""
    for _ in range(scale.of(5)):
        with opened(server) as connection:
            connection.sendall(speech("never heard") + head("GET /health HTTP/1.1"))
            reset(connection)


def half_said(server: Server, scale: Scale) -> None:
    """Row 17: bodies half sent and half closed, resets, odd offers of a WebSocket's."""
    for number in range(scale.of(50)):
        with opened(server) as connection:
            match number % 3:
                case 0:
                    connection.sendall(speech("never whole")[:-3])
                    half_close(connection)
                    connection.recv(4096)
                case 1:
                    connection.sendall(speech("never whole")[:-3])
                    reset_on_close(connection)
                case _:
                    connection.sendall(opening(Sec_WebSocket_Extensions='permessage-deflate; client_max_window_bits="'))
                    connection.recv(4096)


ATTACKS: Mapping[str, Callable[[Server, Scale], None]] = {
    "charset": charset,
    "ligatures": ligatures,
    "inflation": inflation,
    "done_without_end": done_without_end,
    "dense_prompts": dense_prompts,
    "slow_uploads": slow_uploads,
    "percent_signs": percent_signs,
    "http2": http2,
    "pipelined": pipelined,
    "half_said": half_said,
}
"""By name: rows 1-7, 13, 15 and 17 of what once got through."""
