"""A node is lost under load."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clients import company
from tests.cluster.nodes import Nodes, Service
from tests.serving import LOADING_S, Script, wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

REPLICAS, JOBS = 3, 6


@pytest.fixture(scope="module")
def service(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    # Two replicas have room for the jobs of three.
    settings = {"model": {"streams": JOBS}}
    with Service(nodes, tmp_path_factory.mktemp("losses"), settings, num_replicas=REPLICAS) as service:
        yield service


def pids(script: Script) -> list[int]:
    """The processes that it has begun in, in order."""
    return [int(line.rpartition(" pid=")[2]) for line in script.lines() if line.startswith("start ")]


def most_used(nodes: Nodes, scripts: list[Script]) -> dict[str, Any]:
    """The replica with the most of them, where the front is not."""
    (front,) = nodes.replicas("Front")
    others = [replica for replica in nodes.replicas() if replica["node"] != front["node"]]
    begun = [pids(script) for script in scripts]
    return max(others, key=lambda replica: begun.count([replica["pid"]]))


def test_jobs_of_a_lost_node_that_were_not_heard_run_elsewhere_and_the_others_break(
    nodes: Nodes, service: Service, tmp_path: Path
) -> None:
    heard = [Script(tmp_path, f"heard{number}", chunks=3, at=1) for number in range(JOBS)]
    unheard = [Script(tmp_path, f"unheard{number}", chunks=3, at=0) for number in range(JOBS)]
    scripts = [*heard, *unheard]
    with company(service, [script.text for script in scripts]) as answers:
        for script in scripts:
            script.await_event("gate")
        lost = most_used(nodes, scripts)
        there = [pids(script) == [lost["pid"]] for script in scripts]
        nodes.tell("kill_node", number=lost["node"])
        again = [script for script, was_there in zip(unheard, there[JOBS:], strict=True) if was_there]
        wait_for(lambda: all(len(pids(script)) == 2 for script in again), "the jobs to run again")
        for script in scripts:
            script.open_gate()
    broken = [answer.result().is_cut(seed, 3) for seed, answer in enumerate(answers)]
    whole = [answer.result().is_whole(seed, 3) for seed, answer in enumerate(answers)]
    assert broken == [was_there and script in heard for script, was_there in zip(scripts, there, strict=True)]
    assert whole == [not one for one in broken]
    assert any(there)
    service.await_idle()
    nodes.tell("add_node")
    wait_for(lambda: len(nodes.replicas()) == REPLICAS, "a replica on the new node", LOADING_S)
