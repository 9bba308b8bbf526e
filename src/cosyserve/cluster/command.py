"""The trial on one machine, and what joins a cluster: deploys the application, and takes it away at the end."""

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from cosyserve.check.remedies import install
from cosyserve.cluster.arguments import Plan, planned, words
from cosyserve.http.listener import listen
from cosyserve.settings.sections import SettingsError

USAGE_ERROR, NOT_DEPLOYED = 2, 1
STORE_BYTES = 100 * 1024 * 1024
"""Of a Ray that is started here: recordings and chunks on their way."""
TRIES = 3
"""A machine that is busy may not start Ray within the time that Ray gives it."""
QUIET = {
    # Nothing is reported to anybody.
    "RAY_USAGE_STATS_ENABLED": "0",
    # A replica that asks for no GPU sees what its node shows.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Each line is one; Ray would hold back what looks alike.
    "RAY_DEDUP_LOGS": "0",
}


def main(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit status: 2 where arguments are wrong, 1 where it cannot serve."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        args: dict[str, Any] = dict(words(arguments))
        dashboard = args.pop("dashboard", "false").lower() in {"1", "true", "yes"}
        plan = planned(args)
        if not os.environ.get("RAY_ADDRESS"):
            # Before Ray is started, which takes its time; and the fronts would share it with whoever shares.
            listen(plan.settings).close()
        return _serve(plan, dashboard)
    except SettingsError as error:
        _tell(str(error))
        return USAGE_ERROR
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        _tell(f"Ray is not installed: {install('ray')}")
        return USAGE_ERROR


def _serve(plan: Plan, dashboard: bool) -> int:
    # Ray's own handlers come with it, and ours in their place.
    with _ray(dashboard), _signals() as stop:
        # Ray is there only now, and its libraries take seconds to import.
        from cosyserve.cluster.deployed import NotDeployed, deployed

        try:
            with deployed(plan, stop, _say):
                stop.wait()
                _say("stopping: streams finish, and no new ones are taken")
        except NotDeployed as failure:
            _tell(f"it cannot start: {failure}")
            return NOT_DEPLOYED
    _say("stopped")
    return 0


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set by SIGINT and SIGTERM; the second one ends the process at once."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield stop


@contextmanager
def _ray(dashboard: bool) -> Iterator[None]:
    """Join the cluster of RAY_ADDRESS, or start one here that ends with this. Raises SettingsError."""
    address = os.environ.get("RAY_ADDRESS")
    local = {"address": "local", "include_dashboard": dashboard, "num_cpus": 0, "object_store_memory": STORE_BYTES}
    if address:
        _say(f"joining Ray at {address}")
    else:
        _say("starting Ray on this machine")
        _shut_ports()
    _warn()
    # What its variables say is read when it is imported.
    import ray

    _join(ray, {"address": address} if address else local)
    try:
        yield
    finally:
        ray.shutdown()


def _join(ray: ModuleType, options: dict[str, Any]) -> None:
    for tries_left in reversed(range(TRIES)):
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=True, **options)
        except Exception as error:
            if not tries_left:
                raise SettingsError(f"Ray is not to be had: {' '.join(str(error).split())}") from error
            _tell("Ray is late, which a busy machine may be the cause of: once more")
            ray.shutdown()
        else:
            return


def _shut_ports() -> None:
    """Ray listens to every network. Its processes that are started here ask for a word that they alone know."""
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


def _warn() -> None:
    """Who reaches Ray's ports runs what he likes."""
    if os.environ.get("RAY_AUTH_MODE") != "token":
        _tell(
            "warning: Ray's ports ask nobody who he is, and whoever reaches them runs what he likes: keep them from "
            "the network, or set RAY_AUTH_MODE=token"
        )


def _say(line: str) -> None:
    print(f"cosyserve: {line}", flush=True)


def _tell(line: str) -> None:
    print(f"cosyserve: {line}", file=sys.stderr, flush=True)
