"""From the command line to an order: every field checked, nothing sent."""

import argparse
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

DEFAULT_URL = "http://127.0.0.1:50000"
FORMAT_OF_SUFFIX = {".wav": "wav", ".pcm": "pcm", ".raw": "pcm"}
STDOUT = "-"


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


def read_order(args: argparse.Namespace) -> Order:
    """Check a command line. Raises UsageError."""
    if args.output == STDOUT and sys.stdout.isatty():
        raise UsageError("audio does not go to a terminal: pipe it into a player, or give -o FILE")
    audio_format = args.format or _format_of(args.output)
    fields = {
        "text": _read_text(args.text),
        "format": audio_format,
        "instruction": args.instruction,
        "prompt_text": args.prompt_text,
        "voice": args.voice,
        "language": args.language,
        "speed": _number("--speed", args.speed, float),
        "seed": _number("--seed", args.seed, int),
        "sample_rate": _number("--sample-rate", args.sample_rate, int),
    }
    parts = [(name, (None, _encode(name, value))) for name, value in fields.items() if value is not None]
    return Order(
        url=endpoint(args.url or os.environ.get("COSYSERVE_URL") or DEFAULT_URL),
        headers=authorization(args.api_key or os.environ.get("COSYSERVE_API_KEY")),
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


def endpoint(base: str) -> httpx.URL:
    """Where the server at that address takes requests for speech. Raises UsageError."""
    try:
        url = httpx.URL(f"{base.rstrip('/')}/synthesize")
    except httpx.InvalidURL as error:
        raise UsageError(f"{base!r} is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"{base!r} is not a server's URL: it looks like {DEFAULT_URL}")
    return url


def authorization(key: str | None) -> dict[str, str]:
    """The header that shows a key; none without one. Raises UsageError."""
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
