"""Very many listeners in one process, for `benchmarks.streams`: each reads one answer and knows what it missed.

`python -m benchmarks.listeners PORT STREAMS PIECE_MS SECONDS RAMP_S` prints one JSON object.
"""

import asyncio
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass

BYTES_PER_S = 48_000
PREBUFFER_S = 0.2
"""A player that begins with its first byte would hear every jitter: this one begins so much later."""


@dataclass
class Heard:
    """What one listener heard. late_s: of the latest piece, behind the time at which the player needed it."""

    status: int = 0
    pieces: int = 0
    bytes: int = 0
    underruns: int = 0
    late_s: float = -PREBUFFER_S


class Listener(asyncio.Protocol):
    """One request on a connection of its own. Reads HTTP/1.1 with chunks, as far as these servers write it."""

    def __init__(self, body: bytes, port: int) -> None:
        self.heard = Heard()
        self.done = asyncio.get_running_loop().create_future()
        self._request = (
            f"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._unread = b""
        self._left = 0
        self._empty_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count, and play."""
        data = self._unread + data
        if not self.heard.status:
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                self._unread = data
                return
            self.heard.status = int(head.split(b" ", 2)[1])
            data = rest
        self._play(self._body(data))

    def connection_lost(self, _: Exception | None) -> None:
        """All was heard that will be."""
        if not self.done.done():
            self.done.set_result(None)

    def _body(self, data: bytes) -> int:
        """How many bytes of sound are in it. What cannot be read yet is kept."""
        position = sound = 0
        while position < len(data):
            if self._left:
                taken = min(self._left, len(data) - position)
                position += taken
                sound += taken
                self._left -= taken
                continue
            line_end = data.find(b"\r\n", position + 2)
            if line_end < 0:
                break
            # The end of the chunk before it, if there was one, and its own length.
            self._left = int(data[position:line_end].strip() or b"0", 16)
            position = line_end + 2
        self._unread = data[position:]
        return sound

    def _play(self, size: int) -> None:
        if not size:
            return
        now, heard = time.monotonic(), self.heard
        if not heard.bytes:
            self._empty_at = now + PREBUFFER_S
        late_s = now - self._empty_at
        heard.late_s = max(heard.late_s, late_s)
        if late_s > 0:
            heard.underruns += 1
            self._empty_at = now
        self._empty_at += size / BYTES_PER_S
        heard.bytes += size
        heard.pieces += 1


async def listen(port: int, streams: int, piece_ms: int, seconds: int, ramp_s: float) -> list[Heard]:
    """So many streams, begun one after another within `ramp_s`."""
    loop = asyncio.get_running_loop()
    body = json.dumps({"input": f"{piece_ms} {seconds}", "response_format": "pcm"}).encode()
    listeners = []
    for number in range(streams):
        _, listener = await loop.create_connection(lambda: Listener(body, port), "127.0.0.1", port)
        listeners.append(listener)
        if (number + 1) % 10 == 0:
            await asyncio.sleep(10 * ramp_s / streams)
    await asyncio.gather(*(listener.done for listener in listeners))
    return [listener.heard for listener in listeners]


def main() -> int:
    """Run it and print what was heard, and what that cost."""
    port, streams, piece_ms, seconds = map(int, sys.argv[1:5])
    heard = asyncio.run(listen(port, streams, piece_ms, seconds, float(sys.argv[5])))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "heard": [asdict(one) for one in heard]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
