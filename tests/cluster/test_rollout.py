"""Replicas come and go, and no stream notices."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cluster.clients import Heard, ask, company
from tests.cluster.nodes import Nodes, Service
from tests.serving import LOADING_S, Script, wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

CHUNKS = 20
"""Two seconds of sound, that a script makes at once; its gate is what takes time."""


@pytest.fixture
def service(nodes: Nodes, tmp_path: Path) -> Iterator[Service]:
    with Service(nodes, tmp_path, {"model": {"streams": 2}}, num_replicas=2) as service:
        yield service


def patient(service: Service, seed: int) -> Heard | None:
    """A client who asks again where nothing was begun, as a balancer does. None: it was not begun this time."""
    try:
        heard = ask(service, f"chunks={CHUNKS}", seed)
    except httpx.TransportError:
        # Nobody listens, or he who did has left before he answered.
        return None
    return heard if heard.status != 503 else None


@contextmanager
def load(service: Service) -> Iterator[list[tuple[int, Heard]]]:
    """Clients who ask one thing after another; what they heard is in the list when this is left."""
    heard: list[tuple[int, Heard]] = []
    over = threading.Event()

    def client(number: int) -> None:
        seed = 1000 * number
        while not over.is_set():
            if (answer := patient(service, seed)) is not None:
                heard.append((seed, answer))
                seed += 1

    with ThreadPoolExecutor(4) as clients:
        running = [clients.submit(client, number) for number in range(4)]
        try:
            yield heard
        finally:
            over.set()
    for one in running:
        one.result()


def pids(nodes: Nodes) -> set[int]:
    return {replica["pid"] for replica in nodes.replicas()}


def streams(service: Service) -> list[int]:
    """Of each replica that the front knows."""
    return [worker["streams"] for worker in service.model_info()["workers"]]


def check_whole(heard: list[tuple[int, Heard]]) -> None:
    assert heard
    cut = [(seed, one.status, one.broken, len(one.pcm)) for seed, one in heard if not one.is_whole(seed, CHUNKS)]
    assert not cut


def test_a_rollout_under_load_breaks_no_stream(nodes: Nodes, service: Service, tmp_path: Path) -> None:
    before = pids(nodes)
    script = Script(tmp_path, chunks=2, at=1)
    with load(service) as heard, company(service, [script.text]) as (long,):
        script.await_event("gate")
        service.roll_out({"model.streams": 3})
        # The old replica that has the stream is left until it ends.
        wait_for(lambda: pids(nodes) - before, "a new replica", LOADING_S, 0.1)
        script.open_gate()
        wait_for(lambda: nodes.tell("is_running"), "the end of the rollout", LOADING_S, 0.5)
    assert len(pids(nodes)) == 2
    assert not pids(nodes) & before
    check_whole(heard)
    assert long.result().is_whole(0, 2)
    # The front hears once a second who there is.
    wait_for(lambda: streams(service) == [3, 3], "the front to tell of the new replicas alone")
    # Another number of them replaces nobody.
    kept = pids(nodes)
    service.roll_out({}, num_replicas=3)
    wait_for(lambda: len(pids(nodes)) == 3, "one more replica", LOADING_S, 0.1)
    assert kept < pids(nodes)


def test_a_drained_node_is_left_without_a_broken_stream(nodes: Nodes, service: Service) -> None:
    (front,) = nodes.replicas("Front")
    leaving = next(replica for replica in nodes.replicas() if replica["node"] != front["node"])
    with load(service) as heard:
        nodes.tell("drain_node", number=leaving["node"])
        wait_for(
            lambda: len(nodes.replicas()) == 2 and leaving["pid"] not in pids(nodes), "a replica elsewhere", LOADING_S
        )
        nodes.tell("kill_node", number=leaving["node"])
    check_whole(heard)
    nodes.tell("add_node")


def test_from_one_replica_to_three_and_back(nodes: Nodes, tmp_path: Path) -> None:
    extent = {
        "min_replicas": 1,
        "max_replicas": 3,
        "target_ongoing_requests": 1,
        "upscale_delay_s": 1,
        "downscale_delay_s": 2,
        "look_back_period_s": 2,
        "metrics_interval_s": 1,
    }
    script = Script(tmp_path, chunks=2, at=1)
    with Service(nodes, tmp_path, {"model": {"streams": 2}}, autoscaling_config=extent) as service:
        assert len(nodes.replicas()) == 1
        with company(service, [script.text] * 6) as answers:
            wait_for(lambda: service.model_info()["running"] == 6, "three replicas that have all of them", LOADING_S)
            assert len(nodes.replicas()) == 3
            script.open_gate()
        assert all(answer.result().is_whole(seed, 2) for seed, answer in enumerate(answers))
        wait_for(lambda: len(nodes.replicas()) == 1, "the others to go", LOADING_S)
        assert service.speak(text="chunks=1").status_code == 200
