"""What `check` makes of how the process that imports the library ends; stand-ins for the worker's side end it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cosyserve.check.finding import State
from cosyserve.check.library_trial import trial_findings


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a stand-in for `cosyserve_workers.trial` where it is found before ours."""
    package = tmp_path / "stand-in" / "cosyserve_workers"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(package.parent)

    def write(script: str) -> None:
        (package / "trial.py").write_text(f"import json, os, sys, time\n{script}\n")

    return write


def test_all_can_be_imported(trial: Callable[[str], None], tmp_path: Path) -> None:
    trial("print('the library prints too'); print(json.dumps({'problem': ''}))")
    [finding] = trial_findings(tmp_path, tmp_path)
    assert finding.state is State.OK


def test_the_folders_reach_it(trial: Callable[[str], None], tmp_path: Path) -> None:
    trial("print(json.dumps({'problem': ' '.join(sys.argv[1:]) + ': mend it'}))")
    [finding] = trial_findings(tmp_path / "library", tmp_path / "model")
    assert finding.text == f"{tmp_path}/model {tmp_path}/library"
    [finding] = trial_findings(None, tmp_path / "model")
    assert finding.text.strip() == f"{tmp_path}/model"


def test_what_the_worker_would_say_is_passed_on(trial: Callable[[str], None], tmp_path: Path) -> None:
    trial("print(json.dumps({'problem': 'it fails (OSError: lost): pip install it'}))")
    [finding] = trial_findings(tmp_path, tmp_path)
    assert (finding.text, finding.remedy) == ("it fails (OSError: lost)", "pip install it")
    assert finding.stops


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
        ("raise RuntimeError('torn')", "RuntimeError: torn"),
        ("print('no answer'); sys.exit(3)", "exit status 3"),
        ("print(json.dumps(['no answer']))", "exit status 0"),
    ],
)
def test_a_process_that_ends_without_an_answer(
    trial: Callable[[str], None], tmp_path: Path, end: str, said: str
) -> None:
    trial(end)
    [finding] = trial_findings(tmp_path, tmp_path)
    assert finding.text == f"importing the CosyVoice library ended the process ({said})"
    assert finding.stops


def test_one_that_hangs_is_given_up(trial: Callable[[str], None], tmp_path: Path) -> None:
    trial("time.sleep(3600)")
    [finding] = trial_findings(tmp_path, tmp_path, timeout_s=0.2)
    assert finding.text == "the CosyVoice library was not imported in 0.2 s"
    assert finding.stops
