"""Whatever is written: no exception, spans that tile, growth within bounds, what was read reads as itself."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosyserve_words.reading import read
from cosyserve_words.spans import MOST_GROWTH, Options, Unreadable

TRICKY = (
    "0123456789.,:;/-–—~%$€£¥#@&*_^|\\`'\"()[]{}<>=+!? \n\t²½①₂℃°×…"
    "。，：！？（）［］￥％１２零一二两百千万亿年月日点第号楼"
)
WORDS = [
    "No.", "Dr.", "St.", "Jan", "May 5", "p.m.", "http://", "www.", ".com", "a@b.cc", "kg", "km/h", "mc²", "XIV",
    "GPT-4o", "<b>", "</b>",
    "&amp;", "**", "[pause:1s]", "[1]", "](", "$x^2$", "\\frac{1}{2}", "```", "| a |", "第", "电话", "验证码",
    "2024年", "点半", "円", "개", "시",
    "👍🏽", "e\u0301", "\u200d", "\ue000", "\ud800", "1,234.5", "00:00", "3-2", "½", "Ⅷ", "٣", "１２", "iPhone 6s",
    "code 12", "U.S.A.",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from(TRICKY), max_size=40),
    st.lists(
        st.one_of(st.sampled_from(WORDS), st.text(st.sampled_from(TRICKY), max_size=4), st.text(max_size=6)),
        max_size=12,
    ).map("".join),
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
)
LANGUAGES = st.sampled_from(["", "en", "zh", "ja", "ko", "yue", "de", "fr", "ru", "hi", "xx"])
OPTIONS = st.builds(
    Options, language=LANGUAGES, markup=st.sampled_from(["strip", "read"]), kept=st.just(frozenset({"[breath]"}))
)


def holds(text: str, options: Options) -> None:
    """All that is promised of any text."""
    try:
        reading = read(text, options)
    except Unreadable:
        assert text.lstrip().startswith("<")
        return
    spans = reading.spans
    assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])][: len(spans)]
    assert (spans[-1].end if spans else 0) == len(text)
    assert all(len(span.spoken) <= MOST_GROWTH * (span.end - span.start) for span in spans)
    assert len(reading.text) <= MOST_GROWTH * len(text)
    assert all(segment.text == " ".join(segment.text.split()) for segment in reading.segments)


@given(text=TEXTS, options=OPTIONS)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text(text: str, options: Options) -> None:
    holds(text, options)


@pytest.mark.full
@pytest.mark.timeout(3600)
@given(text=TEXTS, options=OPTIONS)
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_hundred_thousand_texts(text: str, options: Options) -> None:
    holds(text, options)
