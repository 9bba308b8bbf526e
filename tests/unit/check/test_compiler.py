"""What Triton would miss: the compiler and the folder are tried for real, or are really not there."""

import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from cosyserve.check.compiler import compiler_findings
from cosyserve.check.finding import State


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a program the only C compiler, and a folder that can be written Triton's cache."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))

    def write(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        (folder / "gcc").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "gcc").chmod(0o755)

    return write


def test_one_that_compiles(compiler: Callable[[str], None], tmp_path: Path) -> None:
    """It is given a source that includes Python.h, and where to look for it."""
    compiler(
        f'case "$*" in *-I{sysconfig.get_path("include")}*) ;; *) exit 1 ;; esac\neval "last=\\${{$#}}"\n'
        'grep -q "include <Python.h>" "$last"'
    )
    (finding,) = compiler_findings()
    assert finding.state is State.OK, finding.text
    assert (tmp_path / "cache").is_dir()


def test_one_without_pythons_headers(compiler: Callable[[str], None]) -> None:
    compiler('echo "trial.c:1:10: fatal error: Python.h: No such file or directory" >&2; exit 1')
    (finding,) = compiler_findings()
    assert "gcc says trial.c:1:10: fatal error: Python.h" in finding.text
    assert "python3-dev" in finding.remedy


def test_one_that_hangs(compiler: Callable[[str], None]) -> None:
    compiler("exec sleep 60")
    assert "cannot be run" in compiler_findings(timeout_s=0.2)[0].text


def test_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler_findings()[0].text.endswith("there is no C compiler")


def test_a_cache_that_cannot_be_made(
    compiler: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler("exit 0")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file" / "cache"))
    (finding,) = compiler_findings()
    assert "cannot be written" in finding.text
    assert "TRITON_CACHE_DIR" in finding.remedy
