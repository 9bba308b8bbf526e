"""English, by kind: `readings/en.txt` has what is written and what a person says for it."""

import pytest

from tests.unit.words.cases import plain, readings, said


@pytest.mark.parametrize(("written", "spoken"), readings("en"))
def test_readings(written: str, spoken: list[str]) -> None:
    assert plain(said(written, "en")) in map(plain, spoken)
