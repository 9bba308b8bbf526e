"""From an order to audio: the request, and the file that appears once it is whole."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

import httpx
from tqdm import tqdm

from cosyserve.client.order import STDOUT, Order, SayError, UsageError
from cosyserve.client.receipt import TIMEOUT, Receipt, check_status, explain, request_id
from cosyserve.client.wav import fill_in_sizes

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def fetch(order: Order) -> Receipt:
    """Post it, and write the answer as it comes. Raises SayError."""
    receipt = Receipt(started=time.perf_counter())
    try:
        with _open_output(order) as file, _open_client(order) as client:
            receipt.started = time.perf_counter()
            with client.stream("POST", order.url, headers=order.headers, files=order.parts) as response:
                receipt.headers = response.headers
                check_status(response, order)
                _copy(response, file, receipt, order)
            if not receipt.audio_bytes(order.audio_format):
                raise SayError(f"the server sent no audio{request_id(receipt.headers)}")
    except httpx.RequestError as error:
        raise explain(error, order, receipt) from error
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
                fill_in_sizes(file)
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
