"""What a remedy tells to type, from a checkout and from a wheel."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from cosyserve.check.remedies import WHEEL, install, pip_of_ours
from tests.serving import ROOT


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """This code, as it lies in an environment."""
    return tmp_path / "lib" / "site-packages" / "cosyserve" / "check" / "remedies.py"


def write_origin(folder: Path, monkeypatch: pytest.MonkeyPatch, origin: dict[str, object] | None) -> None:
    """What pip writes down of where it had a package from."""
    info = folder / "site" / "cosyserve-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: cosyserve\nVersion: 1.0\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.setattr(sys, "path", [str(folder / "site")])
    importlib.invalidate_caches()


def test_in_a_checkout() -> None:
    assert install("native") == f"pip install -e '{ROOT}[native]'"
    assert install() == f"pip install -e {ROOT}"
    assert install("cosyvoice", "--force-reinstall") == f"pip install --force-reinstall -e '{ROOT}[cosyvoice]'"


def test_installed_from_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    checkout = tmp_path / "our checkout"
    checkout.mkdir()
    write_origin(tmp_path, monkeypatch, {"url": checkout.as_uri(), "dir_info": {}})
    assert install("native", code=code) == f"pip install '{checkout}[native]'"


def test_installed_from_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    wheel = tmp_path / WHEEL
    wheel.touch()
    write_origin(tmp_path, monkeypatch, {"url": wheel.as_uri(), "archive_info": {}})
    assert install("native", code=code) == f"pip install '{wheel}[native]'"
    wheel.unlink()
    assert install("native", code=code) == f"pip install '{WHEEL}[native]'"


@pytest.mark.parametrize("origin", [None, {}])
def test_where_pip_does_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: Path, origin: dict[str, object] | None
) -> None:
    write_origin(tmp_path, monkeypatch, origin)
    assert install("native", code=code) == f"pip install '{WHEEL}[native]'"


def test_which_pip_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did not activate the environment would install into another."""
    (tmp_path / "pip").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pip_of_ours() == f"{sys.executable} -m pip"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert pip_of_ours() == ""
