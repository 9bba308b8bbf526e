"""Prometheus's text, whatever the service has put into it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cosyserve.client.measure.counters import Counted, parse, total


def test_all_that_is_there_is_taken_and_what_has_grown() -> None:
    registry = CollectorRegistry()
    captures = Counter("engine_captures", "Graphs.", ["worker"], registry=registry)
    free = Gauge("engine_free", "Bytes.", registry=registry)
    stage = Histogram("stage_seconds", "Time.", ["stage"], registry=registry)
    captures.labels("0").inc(2)
    captures.labels("1").inc()
    stage.labels("flow").observe(1)
    before = parse(generate_latest(registry).decode())
    assert before.counters == {'engine_captures_total{worker="0"}': 2, 'engine_captures_total{worker="1"}': 1}
    assert before.histograms == {'stage_seconds{stage="flow"}': (1, 1)}
    captures.labels("0").inc(3)
    captures.labels("2").inc()
    stage.labels("flow").observe(0.5)
    stage.labels("lm").observe(0.25)
    free.set(7)
    grown = parse(generate_latest(registry).decode()).since(before)
    assert grown.counters == {'engine_captures_total{worker="0"}': 3, 'engine_captures_total{worker="2"}': 1}
    assert grown.histograms == {'stage_seconds{stage="flow"}': (1, 0.5), 'stage_seconds{stage="lm"}': (1, 0.25)}
    assert grown.gauges == {"engine_free": 7}
    assert total(grown.counters, "engine_captures_total") == 4


def test_nothing_is_nothing() -> None:
    assert parse("") == Counted()
