"""`cosyserve reload`: which server is meant."""

import contextlib
import io
from pathlib import Path

import pytest

from cosyserve.cli import run
from cosyserve.client import reload
from cosyserve.wire.control import Control, running

LISTED = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 53021 @cosyserve/41/50000
0000000000000000: 00000003 00000000 00000000 0001 03 53022 @cosyserve/41/50000
0000000000000000: 00000002 00000000 00010000 0001 01 53023 @cosyserve/7/50001
0000000000000000: 00000002 00000000 00010000 0001 01 53024 @cosyserve/7/50001/more
0000000000000000: 00000002 00000000 00010000 0001 01 53025 @cosyserve/seven/50001
0000000000000000: 00000002 00000000 00010000 0001 01 53026 /run/cosyserve/7/50001
0000000000000000: 00000003 00000000 00000000 0001 03 53027
"""


def test_the_kernel_lists_them(tmp_path: Path) -> None:
    (tmp_path / "unix").write_text(LISTED)
    assert running(tmp_path / "unix") == [Control(7, 50001), Control(41, 50000)]


@pytest.mark.parametrize(
    ("flags", "found", "says"),
    [
        ([], "", "no such server runs on this machine: is it up"),
        ([], LISTED, "pid 7 on port 50001, pid 41 on port 50000 run here: say which one with --pid or --port"),
        (["--pid", "8"], LISTED, "no such server runs on this machine (pid 7 on port 50001, pid 41 on port 50000 run"),
        (["--pid", "7", "--port", "50000"], LISTED, "no such server"),
        (["--port", "50000"], LISTED, "Connection refused"),
    ],
)
def test_nobody_is_asked_where_it_is_not_clear_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], found: str, says: str
) -> None:
    (tmp_path / "unix").write_text(found)
    monkeypatch.setattr(reload, "running", lambda: running(tmp_path / "unix"))
    with io.StringIO() as told, contextlib.redirect_stderr(told):
        assert run(["reload", *flags]) == 2
        assert told.getvalue().startswith("cosyserve reload: ")
        assert says in told.getvalue()
