"""More requests than streams, and clients who leave."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.clients import company
from tests.cluster.nodes import Nodes, Service
from tests.serving import Script, wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

STREAMS, REPLICAS = 2, 3


@pytest.fixture(scope="module")
def service(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"model": {"streams": STREAMS}, "limits": {"max_waiting": 100}}
    with Service(nodes, tmp_path_factory.mktemp("load"), settings, num_replicas=REPLICAS) as service:
        yield service


def running(service: Service) -> int:
    """Streams in use on all replicas, as they say themselves."""
    return sum(worker["running"] for worker in service.model_info()["workers"])


def pids(events: Path) -> set[str]:
    """The processes that told of a script."""
    return {line.rpartition(" pid=")[2] for line in events.read_text().splitlines()}


def test_of_ten_times_more_requests_than_streams_none_is_lost(service: Service, tmp_path: Path) -> None:
    chunks = 5
    script = Script(tmp_path, chunks=chunks)
    with company(service, [script.text] * 10 * STREAMS * REPLICAS) as answers:
        pass
    assert all(answer.result().is_whole(seed, chunks) for seed, answer in enumerate(answers))
    assert len(pids(tmp_path / "script.events")) == REPLICAS
    service.await_idle()


def test_who_hangs_up_frees_the_replica_s_stream(service: Service, tmp_path: Path) -> None:
    script = Script(tmp_path, chunks=3, at=1)
    with service.stream(text=script.text, seed=1) as response:
        pieces = response.iter_raw()
        assert next(pieces)
        wait_for(lambda: running(service) == 1, "the replica to tell of its stream")
    script.await_event("cancelled")
    script.await_event("closed")
    wait_for(lambda: running(service) == 0, "the replica to tell that it is free")
