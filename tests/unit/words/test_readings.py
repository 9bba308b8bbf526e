"""Readings by kind and language, each judged by a second source that its line names (`readings/*.tsv`)."""

from pathlib import Path

import pytest

from cosyserve_words.reading import read
from cosyserve_words.spans import Options

TABLES = sorted((Path(__file__).parent / "readings").glob("*.tsv"))


def lines(table: Path) -> list[list[str]]:
    """Kind, written, spoken, source."""
    found = [
        line.replace("\\n", "\n").split("\t")
        for line in table.read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert all(len(line) == 4 and all(line) for line in found), table.name
    return found


CASES = [pytest.param(table.stem, *line[:3], id=f"{table.stem} {line[1]}") for table in TABLES for line in lines(table)]


@pytest.mark.parametrize(("language", "kind", "written", "spoken"), CASES)
def test_it_is_read_as_the_second_source_has_it(language: str, kind: str, written: str, spoken: str) -> None:
    reading = read(written, Options(language))
    assert reading.text == spoken
    assert kind in {span.kind for span in reading.spans}
    assert read(spoken, Options(language)).text == spoken, "what was read reads as itself"


def test_no_table_says_a_thing_twice() -> None:
    for table in TABLES:
        written = [line[1] for line in lines(table)]
        assert len(written) == len(set(written)), table.name
