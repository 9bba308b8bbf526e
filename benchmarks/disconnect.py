"""How long after a client's hang-up its stream is free again: `python -m benchmarks.disconnect`.

For every way to go and every moment to go at: median and maximum of several runs. What is timed ends when /model_info,
asked over and over, first shows no running job, no waiting one and no audio held; a poll's own time is in it, and is
printed beside it.
"""

import argparse
import importlib.util
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.http.wire import LEAVES, Leave, connect, receive_until, reset, speech
from tests.serving import Server, Tables

LONG_TEXT = "The quick brown fox jumps over the lazy dog, again and again. " * 70
AUDIO_BEGINS = b"\r\n\r\n"
SMALL_BUFFER = 4096
GIVE_UP_S = 60.0


class Idle:
    """/model_info over one connection."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=GIVE_UP_S)

    def ask(self) -> dict[str, Any]:
        """Ask once."""
        info: dict[str, Any] = self._client.get("/model_info").json()
        return info

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> float:
        """Ask until the condition holds. Returns the seconds it took."""
        started = time.perf_counter()
        while not condition(self.ask()):
            if time.perf_counter() - started > GIVE_UP_S:
                raise TimeoutError("the server does not get there; see its log")
        return time.perf_counter() - started


def is_free(info: dict[str, Any]) -> bool:
    """Nothing of any request is left."""
    return not (info["running"] or info["waiting"] or info["buffered_bytes"])


def while_waiting(server: Server, idle: Idle, leave: Leave) -> float | None:
    """The only stream is taken; this client stands in line."""
    with connect(server) as occupant, connect(server) as client:
        occupant.sendall(speech(LONG_TEXT))
        idle.until(lambda info: info["running"] == 1)
        client.sendall(speech(LONG_TEXT))
        idle.until(lambda info: info["waiting"] == 1)
        leave(client)
        took = idle.until(lambda info: info["waiting"] == 0)
        reset(occupant)
    return took


def before_first_chunk(server: Server, idle: Idle, leave: Leave) -> float | None:
    """The engine has the job and no audio has come."""
    with connect(server) as client:
        client.sendall(speech(LONG_TEXT))
        idle.until(lambda info: info["running"] == 1)
        client.setblocking(False)
        try:
            client.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            leave(client)
            return idle.until(is_free)
        return None  # The engine was faster than we are.


def mid_stream(server: Server, idle: Idle, leave: Leave) -> float | None:
    """Audio is coming and the client reads it."""
    with connect(server) as client:
        client.sendall(speech(LONG_TEXT))
        receive_until(client, AUDIO_BEGINS)
        return leave_running(client, idle, leave)


def blocked_sender(server: Server, idle: Idle, leave: Leave) -> float | None:
    """Audio is coming, the client does not read, and the server's socket is full."""
    with connect(server, receive_buffer=SMALL_BUFFER) as client:
        client.sendall(speech(LONG_TEXT))
        idle.until(lambda info: info["buffered_bytes"] > 0)
        return leave_running(client, idle, leave)


def leave_running(client: socket.socket, idle: Idle, leave: Leave) -> float | None:
    """Hang up, unless the engine has ended before."""
    if not idle.ask()["running"]:
        return None
    leave(client)
    return idle.until(is_free)


MOMENTS = (while_waiting, before_first_chunk, mid_stream, blocked_sender)


@contextmanager
def one_stream(engine: str) -> Iterator[Server]:
    """A server whose only stream everybody wants."""
    settings: Tables = {"limits": {"max_concurrency": 1}, "model": {"engine": engine}}
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), settings) as server:
        yield server


def measure(engine: str, runs: int) -> None:
    """Print a line for each moment and way."""
    with one_stream(engine) as server:
        idle = Idle(server.url)
        polls = [idle.until(is_free) for _ in range(100)]
        print(f"engine {engine}, {runs} runs each; one poll takes {1000 * statistics.median(polls):.1f} ms (median)")
        print(f"{'moment':20} {'way':12} {'median ms':>10} {'max ms':>10} {'runs':>6}")
        for moment in MOMENTS:
            for leave in LEAVES:
                times: list[float] = []
                for _ in range(runs):
                    took = moment(server, idle, leave)
                    idle.until(is_free)
                    if took is not None:
                        times.append(1000 * took)
                names = f"{moment.__name__.replace('_', ' '):20} {leave.__name__.replace('_', ' '):12}"
                figures = f"{statistics.median(times):10.1f} {max(times):10.1f}" if times else f"{'-':>10} {'-':>10}"
                print(f"{names} {figures} {len(times):6}", flush=True)


def main() -> int:
    """Measure. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disconnect", description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", default="demo", help="any engine that is installed (default: demo)")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="of each moment and way (default: 20)")
    args = parser.parse_args()
    if args.engine == "demo" and importlib.util.find_spec("espeakng_loader") is None:
        print("the engine demo is not installed: pip install -e '.[demo]'", file=sys.stderr)
        return 2
    measure(args.engine, args.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
