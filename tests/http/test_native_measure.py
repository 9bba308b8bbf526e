"""`cosyserve measure` starts the engine `native` on the small checkpoint, and finds what the service counts."""

import statistics
from pathlib import Path

import pytest

from tests.http.test_native_server import FOLDERS
from tests.measuring import Measurement, check_against_counts
from tests.model.conftest import small_checkpoint, small_checkpoint_3  # noqa: F401 - fixtures

SETTINGS = """
[model]
engine = "native"
state_budget_gib = 0.25
[limits]
wait_timeout_s = 300
first_chunk_timeout_s = 300
"""


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_native_is_started_measured_killed_and_ended(
    request: pytest.FixtureRequest, tmp_path: Path, folder: str
) -> None:
    arguments = ("--model-dir", str(request.getfixturevalue(folder)), "--clients", "1", "2", "--minutes", "0.5")
    with Measurement(tmp_path, *arguments, settings=SETTINGS, env={"OMP_NUM_THREADS": "1"}) as measured:
        status, stdout, stderr = measured.finish()
        assert status == 0, stderr
        assert not measured.processes()
        report = measured.report
    check_against_counts(report)
    assert report.stages[0].name == "cold"
    assert report.stages[0].first
    assert report.kill
    assert report.kill.ready_s
    (worker,) = report.workers
    assert worker["restarts"] == 1
    # The short time is told of, stage by stage.
    assert len(report.said) >= len([stage for stage in report.stages if len(stage.runs) < stage.planned])
    text = measured.base.with_suffix(".md").read_text("utf-8")
    for name, value in worker["details"].items():
        assert f"details.{name} | {value}"[:40] in text
    whole = [run for stage in report.stages for run in stage.runs if run.first_s is not None]
    assert statistics.median(run.total_s - run.first_s for run in whole if run.first_s is not None) > 0
    assert "from the start until ready" in stdout
