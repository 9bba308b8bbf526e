"""The application on a cluster, from its deployment to its end."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from cosyserve.cluster.app import bind, streams_of
from cosyserve.cluster.arguments import Plan
from cosyserve.cluster.names import APPLICATION, ENGINE, FRONT
from cosyserve.cluster.told import told_of

LOOK_S = 0.3
SERVES_LOG = LoggingConfig(log_level="ERROR", enable_access_log=False)
"""Beside ours, which is the application's."""
CONTROLLER = {"runtime_env": {"env_vars": {"RAY_SERVE_LOG_TO_STDERR": "0"}}}
"""Its log is in a file: of what keeps a replica from its start, the one line is told that helps."""


class NotDeployed(Exception):
    """The message says why, in one line."""


@contextmanager
def deployed(plan: Plan, stop: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """It serves while this is entered; then its streams finish. Raises NotDeployed.

    stop: ends the wait for it. say: is told how far it has come.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    # Clients meet our own server alone.
    serve.start(proxy_location="Disabled", logging_config=SERVES_LOG, controller_options=CONTROLLER)
    target = serve.RunTarget(bind(plan), name=APPLICATION, route_prefix=None, logging_config=SERVES_LOG)
    (front,) = serve.run_many([target], wait_for_applications_running=False)
    try:
        if _waited(FRONT, stop):
            say(f"serving on {_url(front)}; the engine {plan.settings.model.engine} is starting")
            if _waited(ENGINE, stop):
                say(f"ready; replicas: {told_of(APPLICATION, ENGINE).running}, streams of each: {streams_of(plan)}")
        yield
    finally:
        serve.delete(APPLICATION)


def _url(front: DeploymentHandle[Any]) -> str:
    return str(front.url.remote().result())


def _waited(deployment: str, stop: threading.Event) -> bool:
    """Until it has a replica; False where there is to be none any more. Raises NotDeployed."""
    while not stop.is_set():
        told = told_of(APPLICATION, deployment)
        if told.running:
            return True
        if told.hopeless:
            raise NotDeployed(told.reason)
        stop.wait(LOOK_S)
    return False
