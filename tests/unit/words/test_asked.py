"""Readings that listeners have asked for, however their words are set: compared without case, marks and blanks."""

import re
from pathlib import Path

import pytest
from benchmarks.words import plain

from cosyserve_words.reading import read
from cosyserve_words.spans import Options

TABLE = Path(__file__).with_name("asked.tsv")
CASES = [line.split("\t") for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#")]
_PAUSE = re.compile(r"(?<=[。！？；.!?;])\s*|\s*/\s*")


def said(written: str, language: str) -> str:
    return " / ".join(segment.text for segment in read(written, Options(language)).segments)


def pauses(text: str) -> list[str]:
    return [plain(part) for part in _PAUSE.split(text) if plain(part)]


@pytest.mark.parametrize(("language", "written", "spoken"), CASES)
def test_it_is_read_so(language: str, written: str, spoken: str) -> None:
    found = said(written.replace("\\n", "\n"), language)
    readings = spoken.split("|")
    assert plain(found) in map(plain, readings)
    assert said(found.replace(" / ", " "), language) == found
    if any("/" in reading for reading in readings):
        assert pauses(found) in map(pauses, readings)
