"""The service on Ray Serve, on one node: two replicas of two streams behind one front end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.cluster.local import LocalCluster
from tests.engines import expected_pcm
from tests.reloading import reload_by_command
from tests.serving import ROOT, Script, wait_for

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

REPLICAS, STREAMS, WAITING = 2, 2, 20
PLACES = REPLICAS * STREAMS


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    settings = {"model": {"streams": STREAMS}, "limits": {"max_waiting": WAITING}}
    with LocalCluster(tmp_path_factory.mktemp("cluster"), settings, f"replicas={REPLICAS}") as cluster:
        wait_for(lambda: len(ready(cluster)) == REPLICAS, "every replica")
        yield cluster


def ready(cluster: LocalCluster) -> list[int]:
    """The processes of the replicas that run."""
    return [one["pid"] for one in cluster.model_info()["workers"] if one["state"] == "ready"]


def in_use(cluster: LocalCluster) -> int:
    """Streams, as the replicas tell."""
    return sum(one["running"] for one in cluster.model_info()["workers"])


def test_the_sound_is_the_engines(cluster: LocalCluster) -> None:
    answer = cluster.speak(text="chunks=5", seed=7)

    assert answer.content == expected_pcm(7, 5)
    request_id = answer.headers["x-request-id"]
    # Ray takes its time to pass it on.
    line = wait_for(lambda: [one for one in cluster.logs("speech") if one["request_id"] == request_id], "its line")[0]
    assert line["outcome"] == "ok"


def test_many_jobs_share_few_streams(cluster: LocalCluster) -> None:
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda seed: cluster.speak(text="chunks=4", seed=seed), range(20)))

    assert [answer.content for answer in answers] == [expected_pcm(seed, 4) for seed in range(20)]
    cluster.await_idle()


def test_a_hang_up_frees_the_replicas_stream(cluster: LocalCluster, tmp_path: Path) -> None:
    script = Script(tmp_path, chunks=3, at=1)
    with cluster.stream(text=script.text) as answer:
        next(answer.iter_raw())
        script.await_event("gate")

    script.await_event("closed")
    assert "chunk 1" not in script.events()
    wait_for(lambda: in_use(cluster) == 0, "the stream to be free")


def test_what_is_beyond_the_line_is_told_to_come_back(cluster: LocalCluster, tmp_path: Path) -> None:
    scripts = [Script(tmp_path, f"held{number}", chunks=2, at=0) for number in range(PLACES + WAITING)]
    with ThreadPoolExecutor(len(scripts)) as clients:
        running = [clients.submit(cluster.speak, text=script.text, seed=1) for script in scripts[:PLACES]]
        for script in scripts[:PLACES]:
            script.await_event("gate")
        waiting = [clients.submit(cluster.speak, text=script.text, seed=1) for script in scripts[PLACES:]]
        wait_for(lambda: cluster.model_info()["waiting"] == WAITING, "a full line")

        refused = cluster.speak(text="chunks=1")

        for script in scripts:
            script.open_gate()
        whole = [job.result().content == expected_pcm(1, 2) for job in [*running, *waiting]]
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) > 0
    assert whole == [True] * len(scripts)


def test_each_replica_is_told_of(cluster: LocalCluster, tmp_path: Path) -> None:
    cluster.await_idle()
    script = Script(tmp_path, chunks=2, at=1)
    with ThreadPoolExecutor() as clients:
        job = clients.submit(cluster.speak, text=script.text)
        script.await_event("gate")
        wait_for(lambda: in_use(cluster) == 1, "a replica to tell of its stream")
        info, metrics = cluster.model_info(), cluster.get("/metrics").text
        script.open_gate()
        assert job.result().status_code == 200

    workers = info["workers"]
    assert [one["worker"] for one in workers] == list(range(REPLICAS))
    assert {one["streams"] for one in workers} == {STREAMS}
    assert len({one["details"]["replica"] for one in workers}) == REPLICAS
    assert {one["details"]["kind"] for one in workers} == {"test"}
    assert info["model_type"] == "scripted"
    assert f'cosyserve_workers{{state="ready"}} {REPLICAS}.0' in metrics


def test_a_job_of_which_nothing_has_left_runs_elsewhere(cluster: LocalCluster, tmp_path: Path) -> None:
    script = Script(tmp_path, chunks=3, die=0, once=tmp_path / "once")

    assert cluster.speak(text=script.text, seed=3).content == expected_pcm(3, 3)
    assert script.events().count("die") == 1


def test_a_stream_that_has_begun_breaks_with_its_replica(cluster: LocalCluster, tmp_path: Path) -> None:
    script = Script(tmp_path, chunks=3, at=1)
    with cluster.stream(text=script.text) as answer:
        parts = answer.iter_raw()
        next(parts)
        script.await_event("gate")
        (process,) = {int(line.rpartition("pid=")[2]) for line in script.lines()}
        os.kill(process, signal.SIGKILL)

        with pytest.raises(httpx.RemoteProtocolError):
            list(parts)
    wait_for(lambda: process not in ready(cluster) and len(ready(cluster)) == REPLICAS, "another in its place")


def test_a_front_end_reloads_what_is_its_own(cluster: LocalCluster) -> None:
    cluster.configure({"limits": {"max_waiting": WAITING, "max_text_chars": 30}})
    taken = reload_by_command(cluster, port=cluster.port)
    too_long = cluster.speak(text="chunks=1" + " " * 30 + "length=1")
    cluster.configure({"model": {"streams": STREAMS, "precision": "fp16"}})
    refused = reload_by_command(cluster, port=cluster.port)

    assert (taken.status, "changed: limits.max_text_chars" in taken.says) == (0, True)
    assert too_long.status_code == 422
    assert (refused.status, "`serve deploy`" in refused.says) == (1, True)


def test_an_engine_that_cannot_load_is_told_of_in_a_line(tmp_path: Path) -> None:
    arguments = ["engine=tests.engines:cannot_load", "port=0", f"voices.dir={tmp_path}"]
    command = [sys.executable, "-m", "cosyserve.cluster", *arguments]

    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "cosyserve: it cannot start: the weights are missing: get them with `make model`\n" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
