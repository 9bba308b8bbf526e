"""What has arrived of an answer, and what a user is told of it."""

import json
import math
import time
from dataclasses import dataclass, field

import httpx

from cosyserve.client.order import STDOUT, Order, SayError
from cosyserve.client.wav import HEAD_BYTES, data_start

# The server ends an overdue request itself, sooner and with a reason; this limit is for a server that has vanished.
TIMEOUT = httpx.Timeout(30, read=300)


@dataclass(slots=True)
class Receipt:
    """What has arrived. started: `perf_counter` when the request was sent; head: the answer's first bytes."""

    started: float
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    head: bytes = b""
    size: int = 0
    first_chunk_s: float = math.nan

    def add(self, chunk: bytes) -> None:
        """Count a chunk."""
        if not self.size:
            self.first_chunk_s = time.perf_counter() - self.started
        self.head += chunk[: HEAD_BYTES - len(self.head)]
        self.size += len(chunk)

    @property
    def sample_rate(self) -> int:
        """Hz, as the server says."""
        return self._number("X-Sample-Rate", 24000)

    def seconds(self, size: int) -> float:
        """How long so many bytes of audio last."""
        frame_bytes = self._number("X-Channels", 1) * self._number("X-Bits-Per-Sample", 16) / 8
        return size / (self.sample_rate * frame_bytes)

    def audio_bytes(self, audio_format: str) -> int:
        """How much of it is samples. Raises SayError where it is not what was asked for."""
        return self.size - (data_start(self.head) if audio_format == "wav" and self.size else 0)

    def _number(self, header: str, default: int) -> int:
        value = self.headers.get(header, "")
        return int(value) if value.isdecimal() and int(value) else default


def check_status(response: httpx.Response, order: Order) -> None:
    """Raise SayError unless audio follows."""
    if response.status_code != httpx.codes.OK:
        response.read()
        raise SayError(_refusal(response, order))
    kind = response.headers.get("Content-Type", "nothing known")
    if not kind.startswith("audio/"):
        raise SayError(f"the answer is {kind}, not audio: is {order.server} a cosyserve server?")


def _refusal(response: httpx.Response, order: Order) -> str:
    try:
        error = json.loads(response.content)["error"]
        message, code = str(error["message"]), f" {error['code']}" if error["code"] else ""
    except (ValueError, KeyError, TypeError):
        message, code = f"{order.server} sent an error that is not a cosyserve server's: check --url", ""
    request_id = response.headers.get("X-Request-Id")
    return f"{message} ({response.status_code}{code}{f', request {request_id}' if request_id else ''})"


def explain(error: httpx.RequestError, order: Order, receipt: Receipt) -> SayError:
    """What became of a request that broke."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        reason = str(error) or "no answer"
        return SayError(
            f"cannot reach {order.server} ({reason}): start a server with `make run` or `cosyserve serve`, "
            "or say with --url where one is"
        )
    if not receipt.headers:
        return SayError(f"{order.server} gave no answer ({_reason(error)}): its log may say why")
    kept = "what was written is not all" if order.output == STDOUT else "nothing was kept"
    seconds = receipt.seconds(receipt.size)
    return SayError(
        f"the audio broke off after {seconds:.1f} s ({_reason(error)}); {kept}, try again{request_id(receipt.headers)}"
    )


def _reason(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.ReadTimeout):
        return f"nothing came for {TIMEOUT.read:.0f} s"
    return str(error) or type(error).__name__


def request_id(headers: httpx.Headers) -> str:
    """In brackets, where the server gave one."""
    return f" (request {headers['X-Request-Id']})" if "X-Request-Id" in headers else ""


def summary(order: Order, receipt: Receipt) -> str:
    """What is told of an answer that is whole."""
    total = time.perf_counter() - receipt.started
    audio = receipt.seconds(receipt.audio_bytes(order.audio_format))
    rows = {
        "wrote": "standard output" if order.output == STDOUT else order.output,
        "audio": f"{audio:.2f} s, {order.audio_format}, {receipt.sample_rate} Hz",
        "first-chunk latency": f"{receipt.first_chunk_s * 1000:.0f} ms",
        "total time": f"{total:.2f} s",
        "real-time factor": f"{total / audio:.2f}",
        "mode": receipt.headers.get("X-Synthesis-Mode", "not said"),
        "seed": receipt.headers.get("X-Seed", "not said"),
        "request": receipt.headers.get("X-Request-Id", "not said"),
    }
    return "\n".join(f"{name:<21}{value}" for name, value in rows.items())
