"""The wheel: with all that the service reads from beside its modules."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.serving import ROOT


def test_data_is_in_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    shipped = {
        f"cosyserve/{path.relative_to(ROOT / 'src/cosyserve')}": path.read_bytes()
        for folder in ("http/page", "packaged", "packaged/asset")
        for path in (ROOT / "src/cosyserve" / folder).iterdir()
        if path.is_file()
    }
    assert {"cosyserve/http/page/index.html", "cosyserve/packaged/config.toml"} < set(shipped)
    assert {name: held.get(name) for name in shipped} == shipped
