"""Cases of readings: files of `written => spoken`, by kind, and how two readings are compared."""

from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from benchmarks.words import plain

from cosyserve_words.reading import read
from cosyserve_words.spans import Options

FOLDER = Path(__file__).with_name("readings")

__all__ = ["plain", "readings", "said"]


def readings(name: str) -> list[ParameterSet]:
    """Parameters of a file: what is written and all that is right for it, under its kind's name and its line."""
    kind, cases = "", []
    for number, line in enumerate((FOLDER / f"{name}.txt").read_text("utf-8").splitlines(), start=1):
        if line.startswith("## "):
            kind = line[3:]
        elif line:
            written, spoken = line.split(" => ")
            cases.append(pytest.param(written.replace("\\n", "\n"), spoken.split("|"), id=f"{kind}-{number}"))
    return cases


def said(written: str, language: str = "") -> str:
    """What is said for it, in one line."""
    return read(written, Options(language=language)).text
