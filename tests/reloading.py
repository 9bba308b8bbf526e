"""`cosyserve reload` in tests: what it says of a server, and with which status it ends."""

import contextlib
import io
from argparse import Namespace
from typing import NamedTuple

from cosyserve.client import reload
from tests.serving import Server, Tables


class Told(NamedTuple):
    """status: 0 taken, 1 refused, 2 nobody asked. says: all that was printed."""

    status: int
    says: str


def reload_with(server: Server, settings: Tables) -> Told:
    """Write the configuration anew, with these settings over those that it began with, and have it read."""
    server.configure(settings)
    return reload_by_command(server)


def reload_by_command(server: Server, *, port: int | None = None) -> Told:
    """Ask, and wait for the answer. port: that it listens on, where the front end's process is not the command's."""
    with io.StringIO() as printed, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = reload.run(Namespace(pid=None if port else server.pid, port=port))
        return Told(status, printed.getvalue())
