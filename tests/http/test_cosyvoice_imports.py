"""Checkouts of the CosyVoice library whose submodule imports more than is installed: what the server says.

The snapshot that the other tests run is not quite upstream's: one import in its `matcha` is commented out.
"""

import shutil
from pathlib import Path

import pytest

from tests import sounds
from tests.http.test_cosyvoice_server import server_on
from tests.model import cosyvoice_kit as kit
from tests.model.conftest import small_checkpoint  # noqa: F401 - a fixture

pytestmark = [pytest.mark.timeout(900)]


def checkout(folder: Path, line: str) -> Path:
    """Lay the library out as upstream's repository is, with one more line in a module that the import comes by."""
    matcha = folder / "CosyVoice" / "third_party" / "Matcha-TTS" / "matcha"
    shutil.copytree(kit.library_dir() / "matcha", matcha)
    (folder / "CosyVoice" / "cosyvoice").symlink_to(kit.library_dir() / "cosyvoice")
    utils = matcha / "utils" / "utils.py"
    utils.write_text(f"{line}\n{utils.read_text(encoding='utf-8')}", encoding="utf-8")
    return folder / "CosyVoice"


def test_a_package_that_nothing_calls_need_not_be_installed(
    small_checkpoint: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    source = checkout(tmp_path, "import wget")
    with server_on(tmp_path, small_checkpoint, source_dir=str(source)) as server:
        assert server.speak(text="你好。", prompt_wav=sounds.prompt(2.1, hertz=220)).status_code == 200


@pytest.mark.parametrize(
    ("line", "said", "remedy"),
    [
        (
            "import no_such_package",
            "the CosyVoice library needs the package no_such_package",
            "pip install 'cosyserve[cosyvoice]'; where that does not bring it, pip install no_such_package",
        ),
        (
            "raise RuntimeError('torn')",
            "the CosyVoice library cannot be imported (RuntimeError: torn)",
            "pip install --force-reinstall 'cosyserve[cosyvoice]'; where that does not help, a fresh clone of ",
        ),
    ],
)
def test_the_server_is_unavailable_and_says_what_to_do(
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
