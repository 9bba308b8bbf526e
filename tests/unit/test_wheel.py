"""The wheel: with all that the service reads from beside its modules, and installed far from the checkout it serves."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.serving import DEADLINE_S, ROOT, wait_for


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_data_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    shipped = {
        f"cosyserve/{path.relative_to(ROOT / 'src/cosyserve')}": path.read_bytes()
        for folder in ("http/page", "settings/packaged", "settings/packaged/asset")
        for path in (ROOT / "src/cosyserve" / folder).iterdir()
        if path.is_file()
    }
    assert {"cosyserve/http/page/index.html", "cosyserve/settings/packaged/config.toml"} < set(shipped)
    assert {name: held.get(name) for name in shipped} == shipped


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it; what it needs is this environment's."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin/python")]
    done = subprocess.run([*pip, "install", "--no-deps", str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Behind the wheel: a checkout that is installed here comes after it.
    others = [entry for entry in sys.path if entry.endswith("-packages")]
    (packages / "others.pth").write_text("\n".join(others))
    return folder


@contextmanager
def serving(environment: Path, folder: Path) -> Iterator[str]:
    """`cosyserve serve` from the wheel. Yields its address."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(environment / "bin/cosyserve"), "serve", "--engine", "demo", "--port", "0"],
            cwd=folder,
            env=variables(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    with process:
        try:
            yield wait_for(lambda: address(log, process), "the server's address")
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
            print(log.read_text())


def address(log: Path, process: subprocess.Popen[bytes]) -> str:
    assert process.poll() is None, log.read_text()
    found = [
        line.partition("serving on ")[2].split('"')[0].split()[0]
        for line in log.read_text().splitlines()
        if "serving on http" in line
    ]
    return found[0] if found else ""


def variables() -> dict[str, str]:
    """No setting of this machine, and no way to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("COSYSERVE_", "PYTHON"))}


def test_it_serves_far_from_the_checkout(environment: Path, tmp_path: Path) -> None:
    with (
        serving(environment, tmp_path) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client,
    ):
        wait_for(lambda: client.get("/health").status_code == 200, "a worker that is ready")
        answer = client.post("/synthesize", data={"text": "hello", "format": "wav"})
        assert (answer.status_code, answer.content[:4]) == (200, b"RIFF")
        assert "<html" in client.get("/").text


def test_no_document_sends_people_to_an_index_that_has_us_not() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.md", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in tracked.stdout.splitlines() if name != "CHANGELOG.md"]
    wrong = re.compile(r"""pip install[^\n`]* ['"]?cosyserve\b(?!-)""")
    assert [path for path in paths if wrong.search(path.read_text(encoding="utf-8"))] == []


def test_its_remedies_name_the_wheel(environment: Path, wheel: Path, tmp_path: Path) -> None:
    code = "from cosyserve.check import remedies; print(remedies.__file__); print(remedies.install('native'))"
    done = subprocess.run(
        [str(environment / "bin/python"), "-c", code],
        cwd=tmp_path,
        env=variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    file, remedy = done.stdout.splitlines()
    assert Path(file).is_relative_to(environment)
    assert remedy == f"pip install '{wheel}[native]'"
