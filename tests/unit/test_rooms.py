"""The rooms keep their borders: a machine says so, and its word is worth something."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT

MOST_LINES = 400
MOST_ENTRIES = 18
SIDES = (ROOT / "src/cosyserve", ROOT / "words/cosyserve_words", ROOT / "workers/cosyserve_workers")
MODULES = [path for side in SIDES for path in side.rglob("*.py")]

LINT = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"


def verdict(house: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the two sides in this folder, which come before the installed ones."""
    command = [sys.executable, "-c", LINT, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    path = f"{house / 'src'}:{house / 'words'}:{house / 'workers'}"
    return subprocess.run(
        command, cwd=house, env={"PYTHONPATH": path, "PATH": ""}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for side in SIDES:
        shutil.copytree(side, tmp_path / side.relative_to(ROOT), ignore=shutil.ignore_patterns("packaged", "page"))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("src/cosyserve/pool/pool.py", "from cosyserve.watch import reports", "The front end: imports run downwards"),
        ("src/cosyserve/errors.py", "import cosyserve.http.app", "The front end: imports run downwards"),
        (
            "src/cosyserve/http/app.py",
            "def late():\n    import torch",
            "The front end loads no model code and no engine",
        ),
        (
            "src/cosyserve/voices/store.py",
            "def late():\n    import soundfile",
            "What reads strangers' sound is loaded in helpers alone",
        ),
        ("workers/cosyserve_workers/loop.py", "import cosyserve.settings", "Between front end and workers"),
        (
            "workers/cosyserve_workers/native/lm/model.py",
            "import cosyserve_workers.native.networks",
            "The engine native",
        ),
        ("workers/cosyserve_workers/demo/text.py", "import cosyserve_workers.native.lanes", "The worker side"),
    ],
    ids=[
        "pool to watch",
        "ground to http",
        "torch, in a function",
        "decoders",
        "workers to settings",
        "lm to networks",
        "engines",
    ],
)
def test_an_import_that_climbs_is_found(copy: Path, module: str, line: str, broken: str) -> None:
    with (copy / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = verdict(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(row.startswith(broken) and row.endswith("BROKEN") for row in done.stdout.splitlines()), done.stdout


def test_the_copy_without_it_is_found_in_order(copy: Path) -> None:
    done = verdict(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.name == "__init__.py"], ids=lambda path: path.parent.name
)
def test_a_package_says_its_duty_and_imports_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    # The version, which the wheel is built with, is looked up nowhere.
    assert not imports or path.parent.name == "cosyserve"


def test_no_hall_grows_again() -> None:
    entries = [path for path in SIDES[0].iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES
    assert {path: lines for path in MODULES if (lines := path.read_text("utf-8").count("\n")) > MOST_LINES} == {}


def test_the_picture_is_what_the_code_draws() -> None:
    command = [sys.executable, str(ROOT / "docs/rooms.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0, "draw it anew with `make picture`"
