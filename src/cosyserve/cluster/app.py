"""The application that `serve deploy` names: `cosyserve.cluster.app:build`, with the settings as its `args`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ray
from ray import serve
from ray.serve import Application, Deployment

from cosyserve.cluster.arguments import Plan, planned, scale
from cosyserve.cluster.engine import Engine
from cosyserve.cluster.front import Front
from cosyserve.cluster.names import ENGINE, FRONT
from cosyserve.pool.specs import engine_config
from cosyserve.protocol import DEFAULT_STREAMS

TRIES = 3
"""Replicas that may fail to start, one after another, before a new deployment is given up."""
LOOK_S = 0.1
"""Between two looks whether a replica that is to go has work left."""
HEALTH_S = 2.0
"""Between two looks whether a replica lives: whoever waits for one in its place waits so much longer."""
END_S = 10.0
"""What a front end may take to leave, beside the grace of its streams."""
ENVIRONMENT = {
    # Our server reads and writes through asyncio's own transports.
    "RAY_USE_UVLOOP": "0",
    # Our log is our own, and not a part of Serve's.
    "RAY_SERVE_LOG_TO_STDERR": "1",
}
ROUTING = {
    "request_router_class": "cosyserve.cluster.router.VoiceRouter",
    "request_routing_stats_period_s": 1.0,
    # Whoever waits asks again so soon for a stream that has come free.
    "initial_backoff_s": 0.01,
    "max_backoff_s": 0.1,
}
BUSY = 0.8
"""The part of a replica's streams from which on another one is wanted."""


def build(args: Mapping[str, Any]) -> Application:
    """The front ends before the engines. args: see `arguments.py`. Raises SettingsError."""
    return bind(planned(args))


def bind(plan: Plan) -> Application:
    """The application of a plan."""
    front = _deployment(
        Front,
        name=FRONT,
        num_replicas=plan.extent.fronts,
        # A port is a node's.
        max_replicas_per_node=1,
        ray_actor_options={**_actor(), "num_cpus": plan.extent.front_cpus},
        max_constructor_retry_count=TRIES,
        health_check_period_s=HEALTH_S,
        graceful_shutdown_wait_loop_s=LOOK_S,
        graceful_shutdown_timeout_s=plan.settings.server.shutdown_grace_s + END_S,
    )
    return front.bind(plan.settings, plan.source, _engines(plan))


def _engines(plan: Plan) -> Application:
    settings, streams, gpus = plan.settings, streams_of(plan), _gpus(plan)
    engine = _deployment(
        Engine,
        name=ENGINE,
        ray_actor_options={**_actor(), "num_gpus": gpus},
        max_ongoing_requests=streams,
        max_constructor_retry_count=TRIES,
        health_check_period_s=HEALTH_S,
        max_surge_percent=plan.extent.surge,
        graceful_shutdown_wait_loop_s=LOOK_S,
        graceful_shutdown_timeout_s=settings.server.shutdown_grace_s,
        request_router_config=ROUTING,
        **_extent(plan.extent.replicas, streams),
    )
    config = replace(engine_config(settings, None, round(1 / gpus) if 0 < gpus < 1 else 1), streams=streams)
    return engine.bind(config, plan.extent.threads, settings.workers.stall_timeout_s, settings.log.level)


def _extent(replicas: int | str | dict[str, Any], streams: int) -> dict[str, Any]:
    """How many replicas, as Serve's options have it."""
    wanted = scale(replicas)
    if isinstance(wanted, int):
        return {"num_replicas": wanted}
    return {"autoscaling_config": {"target_ongoing_requests": max(1, BUSY * streams), **wanted}}


def _actor() -> dict[str, Any]:
    """Of each replica. A copy: Serve writes into it."""
    return {"num_cpus": 0, "runtime_env": {"env_vars": dict(ENVIRONMENT)}}


def _deployment(kind: type, **options: Any) -> Deployment:
    deployment: Deployment = serve.deployment(**options)(kind)
    return deployment


def streams_of(plan: Plan) -> int:
    """Of each replica: Serve has to know before an engine can tell."""
    return plan.settings.model.streams or DEFAULT_STREAMS


def _gpus(plan: Plan) -> float:
    """One for each replica where the cluster has any, and nobody has said."""
    model, asked = plan.settings.model, plan.extent.gpus
    if asked is not None:
        return asked
    wants = model.engine != "demo" and model.device != "cpu"
    return 1.0 if wants and _cluster().get("GPU", 0) else 0.0


def _cluster() -> dict[str, float]:
    """What Ray counts on all nodes together."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources
