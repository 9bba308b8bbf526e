"""Quantiles, and what a stage's runs come to."""

import pytest

from cosyserve.client.measure.counters import Counted
from cosyserve.client.measure.figures import spread, stage_report
from cosyserve.client.measure.plan import KNOWN, Ask, Stage
from cosyserve.client.measure.record import Outcome, Run


def run(outcome: Outcome = Outcome.WHOLE, code: str = "ok", first_s: float | None = 0.1, **more: float) -> Run:
    fields = {"audio_bytes": 48_000, "audio_s": 1.0, "underruns": 0, "silence_s": 0.0, **more}
    return Run.model_validate(
        {
            "request_id": "",
            "text_chars": 5,
            "outcome": outcome,
            "code": code,
            "message": "",
            "first_s": first_s,
            "total_s": 1,
            **fields,
        }
    )


def test_quantiles_are_values_that_were_measured() -> None:
    told = spread([float(value) for value in range(100, 0, -1)])
    assert told
    assert (told.count, told.p50, told.p95, told.worst, told.mean) == (100, 50, 95, 100, 50.5)
    alone = spread([3.0])
    assert alone
    assert (alone.p50, alone.p95) == (3, 3)
    assert spread([]) is None


def test_a_stage() -> None:
    stage = Stage("ten", 10, KNOWN, [Ask("a", seed) for seed in range(9)])
    runs = [
        run(),
        run(first_s=0.3, underruns=2, silence_s=0.5),
        run(Outcome.CUT, "out_of_time", underruns=1, audio_s=0.5),
        run(Outcome.REFUSED, "overloaded", None, audio_s=0),
        run(Outcome.REFUSED, "overloaded", None, audio_s=0),
        run(Outcome.FAILED, "broken_off", None, audio_s=0.25),
    ]
    report = stage_report(stage, runs, Counted(), wall_s=2, cpu_s=1)
    assert (report.planned, report.whole, report.cut) == (9, 2, 1)
    assert (report.refused, report.failed) == ({"overloaded": 2}, {"broken_off": 1})
    # Only of those that were heard whole can it be said that no underrun came.
    assert (report.without_underrun, report.underruns, report.silence_s) == (0.5, 3, 0.5)
    assert report.audio_s == pytest.approx(2.75)
    assert report.rate == pytest.approx(1.375)
    assert report.client_busy == 0.5
    assert report.first
    assert (report.first.count, report.first.worst) == (3, 0.3)


def test_a_stage_in_which_nothing_was_heard() -> None:
    report = stage_report(Stage("one", 1, KNOWN, []), [], Counted(), wall_s=0, cpu_s=0)
    assert (report.first, report.without_underrun, report.rate) == (None, None, 0)
