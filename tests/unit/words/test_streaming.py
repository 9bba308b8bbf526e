"""Marks that are being written."""

import pytest

from cosyserve_words.streaming import is_open


@pytest.mark.parametrize(
    "text", ["see [a, b", "a [link](x) and [", "<break time=", "the sum $a + b", "`code", "[a] <b> $c$ `d` ["]
)
def test_open(text: str) -> None:
    assert is_open(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "see [a, b]",
        "5 < 6",
        "it costs $5",
        "[ not one",
        "<break/>",
        "$a + b$",
        "`code`",
        "so is `code`.",
        "so is $x^2$,",
        "[a\nb",
    ],
)
def test_closed(text: str) -> None:
    assert not is_open(text)
