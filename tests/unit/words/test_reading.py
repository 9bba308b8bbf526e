"""The way through: spans tile, segments are whole, places are in the language of what is around them."""

import pytest

from cosyserve_words.reading import read
from cosyserve_words.spans import Options


def said(text: str, language: str = "") -> list[str]:
    return [segment.text for segment in read(text, Options(language)).segments]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Hello, world.", "Hello, world."),
        ("e\u0301t\u00e9", "\u00e9t\u00e9"),
        ("\ue000a\u200bb\U000e0041", "ab"),
        ("５ apples", "five apples"),
        ("one\n\ntwo\r\nthree.\n", "one. two. three."),
    ],
)
def test_what_is_plain_passes(written: str, spoken: str) -> None:
    assert " ".join(said(written)) == spoken


def test_spans_tile_and_say_what_they_are() -> None:
    text = "He said 5\u200b [pause:1.5s] things.\nNext"
    spans = read(text, Options("en")).spans
    assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])]
    assert spans[-1].end == len(text)
    assert [span.kind for span in spans] == [
        *("word", "number", "dropped", "word", "pause", "word", "pause", "word"),
    ]


def test_a_pause_ends_a_segment() -> None:
    segments = read("One [pause:1.5s] two [pause:200ms] three.", Options("en")).segments
    assert [(segment.text, segment.pause_s) for segment in segments] == [("One", 1.5), ("two", 0.2), ("three.", 0)]


@pytest.mark.parametrize("count", [1, 4, 40])
def test_segments_are_whole_sentences_of_a_fair_length(count: int) -> None:
    sentence = "The quick brown fox jumps over the lazy dog. "
    found = said(sentence * count, "en")
    assert " ".join(found) == (sentence * count).strip()
    assert all(segment.endswith("dog.") for segment in found)
    assert max(map(len, found)) <= 400
