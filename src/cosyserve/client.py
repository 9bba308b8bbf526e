"""The client behind `cosyserve say`: posts a text to a server and writes the audio as it arrives."""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

import httpx
from tqdm import tqdm

DEFAULT_URL = "http://127.0.0.1:50000"
FORMAT_OF_SUFFIX = {".wav": "wav", ".pcm": "pcm", ".raw": "pcm"}
STDOUT = "-"

# The server ends an overdue request itself, sooner and with a reason; this limit is for a server that has vanished.
TIMEOUT = httpx.Timeout(30, read=300)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

UNKNOWN_SIZE = 0xFFFFFFFF
"""What a streamed WAV header says where the length is not known yet."""
HEAD_BYTES = 4096
"""How much of an answer is kept to find the WAV header's end in: the header itself is 44 bytes or little more."""


class SayError(Exception):
    """The speech could not be had; the message is one line that says why and what to do."""

    exit_status = 1


class UsageError(SayError):
    """The command line cannot be carried out; nothing was sent."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class Order:
    """A checked command line. parts: the form, as (field, (file name or None, content))."""

    url: httpx.URL
    headers: dict[str, str]
    parts: list[tuple[str, tuple[str | None, bytes]]]
    output: str
    audio_format: str
    quiet: bool

    @property
    def server(self) -> str:
        """The server's address without path and password, for messages."""
        return f"{self.url.scheme}://{self.url.netloc.decode()}"


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

    def _number(self, header: str, default: int) -> int:
        value = self.headers.get(header, "")
        return int(value) if value.isdecimal() and int(value) else default


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cosyserve say`. Numbers stay strings here: `run` tells of a bad one in one line."""
    parser.add_argument("text", metavar="TEXT", help="what to say; - reads it from standard input")
    parser.add_argument(
        "-o", "--output", default="speech.wav", metavar="FILE", help="where to write (speech.wav); - is standard output"
    )
    parser.add_argument("--url", help=f"the server ($COSYSERVE_URL, else {DEFAULT_URL})")
    parser.add_argument("--instruction", metavar="TEXT", help="how to say it: tone, dialect, feeling")
    parser.add_argument("--prompt-wav", metavar="FILE", help="a recording of the voice to speak with")
    parser.add_argument("--prompt-text", metavar="TEXT", help="what is said in the recording")
    parser.add_argument("--voice", metavar="NAME", help="a stored voice to speak with")
    parser.add_argument("--speed", metavar="X", help="1 is the model's own pace, 2 twice as fast")
    parser.add_argument("--seed", metavar="N", help="makes the answer repeatable")
    parser.add_argument("--sample-rate", metavar="HZ", help="of the answer (the model's own: 24000)")
    parser.add_argument("--format", choices=("pcm", "wav"), help="default: by the suffix of --output; pcm for -")
    parser.add_argument("--api-key", metavar="KEY", help="better given as $COSYSERVE_API_KEY: others can see arguments")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    """Say it; return the exit status. Standard output carries audio or nothing, every message goes to stderr."""
    try:
        order = _read_order(args)
        receipt = _fetch(order)
        if not args.quiet:
            _tell(_summary(order, receipt))
    except SayError as error:
        _tell(f"cosyserve say: {' '.join(str(error).split())}")
        return error.exit_status
    except KeyboardInterrupt:
        _tell("cosyserve say: interrupted")
        return 130
    return 0


def _tell(message: str) -> None:
    print(message, file=sys.stderr)


# From the command line to an order


def _read_order(args: argparse.Namespace) -> Order:
    if args.output == STDOUT and sys.stdout.isatty():
        raise UsageError("audio does not go to a terminal: pipe it into a player, or give -o FILE")
    audio_format = args.format or _format_of(args.output)
    fields = {
        "text": _read_text(args.text),
        "format": audio_format,
        "instruction": args.instruction,
        "prompt_text": args.prompt_text,
        "voice": args.voice,
        "speed": _number("--speed", args.speed, float),
        "seed": _number("--seed", args.seed, int),
        "sample_rate": _number("--sample-rate", args.sample_rate, int),
    }
    parts = [(name, (None, _encode(name, value))) for name, value in fields.items() if value is not None]
    return Order(
        url=_endpoint(args.url or os.environ.get("COSYSERVE_URL") or DEFAULT_URL),
        headers=_authorization(args.api_key or os.environ.get("COSYSERVE_API_KEY")),
        parts=[*parts, *_prompt_part(args.prompt_wav)],
        output=args.output,
        audio_format=audio_format,
        quiet=args.quiet,
    )


def _format_of(output: str) -> str:
    if output == STDOUT:
        return "pcm"
    try:
        return FORMAT_OF_SUFFIX[Path(output).suffix.lower()]
    except KeyError:
        raise UsageError(f"cannot tell the format from the name {output}: add --format pcm or --format wav") from None


def _read_text(text: str) -> str:
    if text != "-":
        return text
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"standard input is not readable as UTF-8 text: {error}") from error


def _number(option: str, value: str | None, kind: type[int] | type[float]) -> str | None:
    """Only whether it is a number; which ones are allowed is the server's to say."""
    if value is None:
        return None
    try:
        number = kind(value)
        if math.isfinite(number):
            return str(number)
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{option} must be a {'whole number' if kind is int else 'number'}, not {value!r}")


def _encode(name: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{name} is not UTF-8 text") from error


def _endpoint(base: str) -> httpx.URL:
    try:
        url = httpx.URL(f"{base.rstrip('/')}/synthesize")
    except httpx.InvalidURL as error:
        raise UsageError(f"{base!r} is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"{base!r} is not a server's URL: it looks like {DEFAULT_URL}")
    return url


def _authorization(key: str | None) -> dict[str, str]:
    key = (key or "").strip()
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise UsageError("the API key has characters that no key has: give it without line breaks, in ASCII")
    return {"Authorization": f"Bearer {key}"}


def _prompt_part(path: str | None) -> list[tuple[str, tuple[str | None, bytes]]]:
    if path is None:
        return []
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the prompt {path}: {error.strerror}") from error
    # A file name may hold bytes that are not text; the server needs it only to see that a file was meant.
    name = Path(path).name.encode(errors="replace").decode()
    return [("prompt_wav", (name, content))]


# From an order to audio


def _fetch(order: Order) -> Receipt:
    receipt = Receipt(started=time.perf_counter())
    try:
        with _open_output(order) as file, _open_client(order) as client:
            receipt.started = time.perf_counter()
            with client.stream("POST", order.url, headers=order.headers, files=order.parts) as response:
                receipt.headers = response.headers
                _check_status(response, order)
                _copy(response, file, receipt, order)
            if not _audio_bytes(order, receipt):
                raise SayError(f"the server sent no audio{_request_id(receipt.headers)}")
    except httpx.RequestError as error:
        raise _explain(error, order, receipt) from error
    except BrokenPipeError as error:
        raise SayError("whoever read the audio has gone away") from error
    except OSError as error:
        raise SayError(f"cannot write {order.output}: {error.strerror}") from error
    return receipt


def _open_client(order: Order) -> httpx.Client:
    try:
        # A proxy meant for the wide world cannot reach this machine's own server.
        return httpx.Client(timeout=TIMEOUT, trust_env=order.url.host not in LOOPBACK)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"the proxy or certificate settings of the environment are not usable: {error}") from error


@contextmanager
def _open_output(order: Order) -> Iterator[IO[bytes]]:
    """Give what to write to. A file appears under its name only when the block has ended well."""
    if order.output == STDOUT:
        # A buffer of its own: Python's may be none (PYTHONUNBUFFERED) and then writes half a chunk, or may still be
        # full at exit, when its reader has gone, and complain.
        with open(sys.stdout.fileno(), "wb", closefd=False) as stdout:
            yield stdout
        return
    target = Path(os.path.realpath(order.output))
    if _is_special(target, order):
        # A device or a named pipe is written to as it is: renaming a file over it would take its place.
        with _open_file(target, "wb", order) as file:
            yield file
        return
    part = target.with_name(f"{target.name}.part")
    with _open_file(part, "w+b", order) as file:
        try:
            yield file
            if order.audio_format == "wav":
                _fill_in_sizes(file)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _is_special(target: Path, order: Order) -> bool:
    try:
        return target.exists() and not target.is_file()
    except OSError as error:
        raise UsageError(f"cannot write {order.output}: {error.strerror}") from error


def _open_file(path: Path, mode: str, order: Order) -> IO[bytes]:
    try:
        return path.open(mode)
    except OSError as error:
        raise UsageError(f"cannot write {order.output}: {error.strerror}") from error


def _copy(response: httpx.Response, file: IO[bytes], receipt: Receipt, order: Order) -> None:
    with _progress(order) as bar:
        for chunk in response.iter_bytes():
            receipt.add(chunk)
            file.write(chunk)
            file.flush()
            bar.update(receipt.seconds(len(chunk)))


def _progress(order: Order) -> "tqdm[NoReturn]":
    # disable=None is tqdm's word for "only on a terminal".
    return tqdm(disable=order.quiet or None, leave=False, file=sys.stderr, bar_format="{n:.1f} s of audio [{elapsed}]")


# WAV


def _audio_bytes(order: Order, receipt: Receipt) -> int:
    return receipt.size - (_data_start(receipt.head) if order.audio_format == "wav" and receipt.size else 0)


def _data_start(head: bytes) -> int:
    """Offset of a WAV file's first sample: RIFF chunks are skipped until `data`. Raises SayError."""
    at = 12 if head[:4] == b"RIFF" and head[8:12] == b"WAVE" else len(head)
    while at + 8 <= len(head):
        if head[at : at + 4] == b"data":
            return at + 8
        size = int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    raise SayError("the server's answer is not WAV, though that was asked for: try --format pcm")


def _fill_in_sizes(file: IO[bytes]) -> None:
    """Put the true lengths into the header of a streamed WAV file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    data = _data_start(file.read(HEAD_BYTES))
    for at, length in ((4, size - 8), (data - 4, size - data)):
        file.seek(at)
        if file.read(4) == UNKNOWN_SIZE.to_bytes(4, "little") and length < UNKNOWN_SIZE:
            file.seek(at)
            file.write(length.to_bytes(4, "little"))
    file.flush()


# What to say about it


def _check_status(response: httpx.Response, order: Order) -> None:
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


def _explain(error: httpx.RequestError, order: Order, receipt: Receipt) -> SayError:
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
        f"the audio broke off after {seconds:.1f} s ({_reason(error)}); {kept}, try again{_request_id(receipt.headers)}"
    )


def _reason(error: httpx.RequestError) -> str:
    if isinstance(error, httpx.ReadTimeout):
        return f"nothing came for {TIMEOUT.read:.0f} s"
    return str(error) or type(error).__name__


def _request_id(headers: httpx.Headers) -> str:
    return f" (request {headers['X-Request-Id']})" if "X-Request-Id" in headers else ""


def _summary(order: Order, receipt: Receipt) -> str:
    total = time.perf_counter() - receipt.started
    audio = receipt.seconds(_audio_bytes(order, receipt))
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
