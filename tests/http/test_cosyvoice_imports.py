"""Checkouts of the CosyVoice library whose submodule imports more than is installed: the server's word, and `check`'s.

The snapshot that the other tests run is not quite upstream's: one import in its `matcha` is commented out.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cosyserve.check.remedies import install
from tests import sounds
from tests.http.test_cosyvoice_server import server_on
from tests.model import cosyvoice_kit as kit
from tests.model.conftest import small_checkpoint  # noqa: F401 - a fixture
from tests.serving import LOADING_S, ROOT

pytestmark = [pytest.mark.timeout(900)]


def checkout(folder: Path, line: str) -> Path:
    """Lay the library out as upstream's repository is, with one more line in a module that the import comes by."""
    matcha = folder / "CosyVoice" / "third_party" / "Matcha-TTS" / "matcha"
    shutil.copytree(kit.library_dir() / "matcha", matcha)
    (folder / "CosyVoice" / "cosyvoice").symlink_to(kit.library_dir() / "cosyvoice")
    utils = matcha / "utils" / "utils.py"
    utils.write_text(f"{line}\n{utils.read_text(encoding='utf-8')}", encoding="utf-8")
    return folder / "CosyVoice"


def check(config: Path) -> tuple[int, str]:
    """The exit status and the report of `cosyserve check`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COSYSERVE_")}
    command = [sys.executable, "-m", "cosyserve", "check", "--config", str(config)]
    environment = {**inherited, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=config.parent, env=environment, capture_output=True, text=True, check=False, timeout=LOADING_S
    )
    return done.returncode, done.stdout


@pytest.mark.full
def test_a_package_that_nothing_calls_need_not_be_installed(
    small_checkpoint: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    source = checkout(tmp_path, "import wget")
    with server_on(tmp_path, small_checkpoint, source_dir=str(source)) as server:
        assert server.speak(text="你好。", prompt_wav=sounds.prompt(2.1, hertz=220)).status_code == 200
    status, report = check(tmp_path / "config.toml")
    assert status == 0
    assert "  ok       all that the engine imports can be imported\n" in report


@pytest.mark.full
@pytest.mark.parametrize(
    ("line", "said", "remedy"),
    [
        pytest.param(
            "import no_such_package",
            "the CosyVoice library needs the package no_such_package",
            f"{install('cosyvoice')}; where that does not bring it, pip install no_such_package",
            marks=pytest.mark.full,
        ),
        (
            "raise RuntimeError('torn')",
            "the CosyVoice library cannot be imported (RuntimeError: torn)",
            f"{install('cosyvoice', '--force-reinstall')}; where that does not help, a fresh clone of ",
        ),
    ],
)
def test_the_server_is_unavailable_and_check_says_the_same(
    small_checkpoint: Path,  # noqa: F811
    tmp_path: Path,
    line: str,
    said: str,
    remedy: str,
) -> None:
    source = checkout(tmp_path, line)
    with server_on(tmp_path, small_checkpoint, status="unavailable", source_dir=str(source)) as server:
        assert server.get("/health").status_code == 503
        (worker,) = server.model_info()["workers"]
        assert worker["reason"].startswith(f"{said}: {remedy}")
        assert "\n" not in worker["reason"]
        assert worker["restarts"] == 0, "trying again would not help"
    status, report = check(tmp_path / "config.toml")
    assert status == 1
    assert f"  problem  {said}\n           -> {remedy}" in report
    assert report.startswith("cosyserve cannot serve with the engine cosyvoice: ")
