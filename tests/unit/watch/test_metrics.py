"""The registry: what is in it, what bounds its labels, and the dashboard that reads it."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from cosyserve.pool.status import PoolState, WorkerState, WorkerStatus
from cosyserve.watch.metrics import MAX_EVENTS, MAX_STAGES, Metrics
from tests.serving import ROOT

DASHBOARD = ROOT / "deploy/grafana-dashboard.json"
ALERTS = ROOT / "deploy/alerts.yaml"
METRIC = r"\b(?:cosyserve_|process_)\w+|\bup\b"


def worker(index: int, state: WorkerState, restarts: int, details: dict[str, str], **counters: int) -> WorkerStatus:
    return WorkerStatus(
        worker=index,
        generation=4,
        state=state,
        device=None,
        pid=None,
        streams=10,
        running=0,
        restarts=restarts,
        reason="",
        details=details,
        counters=counters,
    )


STATE = PoolState(
    running=3,
    waiting=2,
    max_concurrency=10,
    buffered_bytes=4096,
    generation=4,
    engine="native",
    workers=[
        worker(
            0, WorkerState.READY, 0, {"device": "NVIDIA L20", "precision": "bf16"}, graph_captures=12, out_of_memory=0
        ),
        worker(1, WorkerState.READY, 1, {}),
        worker(2, WorkerState.RESTING, 7, {"device": "cpu, 2 threads"}, **{f"event{n:03}": n for n in range(1000)}),
    ],
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: STATE)


def samples(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by name, then by the values of the labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.exposition("")[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_the_pool_at_this_moment(metrics: Metrics) -> None:
    found = samples(metrics)
    assert found["cosyserve_running"] == {(): 3}
    assert found["cosyserve_waiting"] == {(): 2}
    assert found["cosyserve_max_concurrency"] == {(): 10}
    assert found["cosyserve_buffered_bytes"] == {(): 4096}
    assert found["cosyserve_worker_restarts_total"] == {("0",): 0, ("1",): 1, ("2",): 7}
    assert found["cosyserve_generation"] == {(): 4}
    assert set(found["cosyserve_workers"]) == {(state,) for state in WorkerState}
    assert found["cosyserve_workers"]["ready",] == 2
    assert found["cosyserve_workers"]["starting",] == 0
    assert found["cosyserve_worker_info"] == {
        ("NVIDIA L20", "native", "bf16", "0"): 1,
        ("", "native", "", "1"): 1,
    }


def test_the_front_ends_own_process(metrics: Metrics) -> None:
    found = samples(metrics)
    now = time.time()
    assert found["process_resident_memory_bytes"][()] > 2**20
    assert found["process_cpu_seconds_total"][()] > 0
    assert 0 < found["process_open_fds"][()] < found["process_max_fds"][()]
    assert 0 < found["process_start_time_seconds"][()] < now


def test_what_engines_count(metrics: Metrics) -> None:
    events = samples(metrics)["cosyserve_engine_events_total"]
    of_the_first = {event: count for (event, worker), count in events.items() if worker == "0"}
    assert of_the_first == {"graph_captures": 12, "out_of_memory": 0}
    assert len([worker for _, worker in events if worker == "2"]) == MAX_EVENTS


def test_stages_are_bounded(metrics: Metrics) -> None:
    for number in range(1000):
        metrics.stages({f"stage{number}": 0.1, "stage0": 0.2})
    counts = samples(metrics)["cosyserve_stage_seconds_count"]
    assert len(counts) == MAX_STAGES + 1
    assert counts["other",] == 1000 - MAX_STAGES
    assert counts["stage0",] == 1000


def test_two_services_do_not_meet(metrics: Metrics) -> None:
    other = Metrics(lambda: STATE)
    other.underruns.labels("/synthesize").inc()
    assert "cosyserve_underruns_total" not in samples(metrics)
    assert samples(other)["cosyserve_underruns_total"] == {("/synthesize",): 1}


def test_formats(metrics: Metrics) -> None:
    assert metrics.exposition("")[1].startswith("text/plain")
    body, media_type = metrics.exposition("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def expressions(node: Any) -> Iterator[str]:
    """Every PromQL expression in the dashboard."""
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def labels_of(metrics: Metrics) -> dict[str, set[str]]:
    """The labels of each series, by the name that PromQL uses."""
    known: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            labels = metric._labelnames
            metric.labels(*("x" for _ in labels)) if labels else metric
    for family in text_string_to_metric_families(metrics.exposition("")[0].decode()):
        for sample in family.samples:
            # Prometheus says of each where it was scraped.
            known[sample.name] = {*sample.labels, "instance"}
    return known


def test_the_dashboard_asks_for_what_there_is(metrics: Metrics) -> None:
    text = DASHBOARD.read_text(encoding="utf-8")
    found = list(expressions(json.loads(text)))
    assert len(found) >= 12
    known = labels_of(metrics)
    for expression in found:
        names = re.findall(METRIC, expression)
        assert names, expression
        for name in names:
            assert name in known, f"{name} in {expression}"
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            assert set(re.split(r",\s*", grouped)) <= set().union(*(known[name] for name in names)), expression
        histograms = re.findall(r"histogram_quantile\(", expression)
        assert not histograms or all(name.endswith("_bucket") for name in names), expression


def test_the_dashboard_tells_nodes_apart() -> None:
    """Everything is of the nodes that are picked, and the last row has a line for each of them."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variable = next(one for one in dashboard["templating"]["list"] if one["name"] == "instance")
    assert (variable["multi"], variable["includeAll"]) == (True, True)
    assert all('instance=~"$instance"' in expression for expression in expressions(dashboard))
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows == ["By node"]
    place = next(index for index, panel in enumerate(dashboard["panels"]) if panel["type"] == "row")
    of_nodes = [target for panel in dashboard["panels"][place + 1 :] for target in panel["targets"]]
    assert len(of_nodes) >= 8
    for target in of_nodes:
        assert "{{instance}}" in target["legendFormat"]
        assert all("instance" in grouped for grouped in re.findall(r"by \(([^)]*)\)", target["expr"])), target
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_dashboard_shows_every_metric(metrics: Metrics) -> None:
    asked = " ".join(expressions(json.loads(DASHBOARD.read_text(encoding="utf-8"))))
    made_by_the_client = ("_created", "_sum", "_count")
    for name in labels_of(metrics):
        of_the_process = name.startswith("process_")
        assert of_the_process or name.endswith(made_by_the_client) or name in asked, f"{name} is on no panel"


def test_the_alerts_ask_for_what_there_is(metrics: Metrics) -> None:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    known = {**labels_of(metrics), "up": {"job"}}
    for rule in group["rules"]:
        names = set(re.findall(METRIC, rule["expr"]))
        assert names, rule
        assert names <= set(known), names - set(known)
        for grouped in re.findall(r"by \(([^)]*)\)", rule["expr"]):
            labels = set().union(*(known[name] for name in names)) | {"instance"}
            assert set(re.split(r",\s*", grouped)) <= labels, rule
        assert {"summary", "description"} <= set(rule["annotations"])
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_each_alert_is_explained(metrics: Metrics) -> None:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    explained = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert [rule["alert"] for rule in group["rules"] if f"`{rule['alert']}`" not in explained] == []
