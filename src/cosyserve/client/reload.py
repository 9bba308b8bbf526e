"""`cosyserve reload`: has a server on this machine read its configuration again, and tells what it says to it."""

import argparse
import json
import socket
import sys
from collections.abc import Sequence

from cosyserve.wire.control import RELOAD, Control, running

TAKEN, REFUSED, NOBODY_ASKED = 0, 1, 2


class Unreachable(Exception):
    """Nobody was asked; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: none are needed where one server runs."""
    parser.add_argument("--pid", type=int, metavar="PID", help="the server's process, where several run here")
    parser.add_argument("--port", type=int, metavar="PORT", help="or the port that it listens on")


def run(args: argparse.Namespace) -> int:
    """Ask, and wait for the answer. Returns the exit status: 0 taken, 1 refused, 2 nobody could be asked."""
    try:
        return _ask(_chosen(args.pid, args.port, running()))
    except (Unreachable, OSError) as error:
        _tell(f"cosyserve reload: {error}")
        return NOBODY_ASKED
    except KeyboardInterrupt:
        _tell("cosyserve reload: no longer waiting; the reload goes on, and the server's log tells its end")
        return 130


def _chosen(pid: int | None, port: int | None, found: Sequence[Control]) -> Control:
    meant = [one for one in found if pid in {None, one.pid} and port in {None, one.port}]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        others = f" ({_listed(found)} run here)" if found else ""
        raise Unreachable(f"no such server runs on this machine{others}: is it up, and in this container?")
    raise Unreachable(f"{_listed(meant)} run here: say which one with --pid or --port")


def _listed(servers: Sequence[Control]) -> str:
    return ", ".join(f"pid {one.pid} on port {one.port}" for one in servers)


def _ask(server: Control) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server.address)
        connection.sendall(RELOAD)
        with connection.makefile("rb") as answer:
            for line in answer:
                told = json.loads(line)
                if told.get("taken") is False:
                    _tell(f"cosyserve reload: refused, and nothing has changed: {told['says']}")
                    return REFUSED
                print(told["says"])
                if told.get("taken"):
                    return TAKEN
    _tell("cosyserve reload: the server ended before it answered")
    return REFUSED


def _tell(message: str) -> None:
    print(message, file=sys.stderr)
