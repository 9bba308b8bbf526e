"""What every engine does to a text: what is left of it, and where it is never cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve_workers.text import BORDERS, clean, pack, shielded

SPANS = (
    "299,792,458",
    "2.5.1",
    "14:30:59",
    "14：30",
    "１，２３４",
    "138 0013 8000",
    "2024/10/05",
    "https://www.example.com/a/b.html?q=1&lang=en;x=y#part:2",
    "test.user@example.com",
    "/var/log/cosyserve/server.log",
    r"C:\Users\me\file.txt",
    "[L][IY1][D]",
)
FILLERS = ("光速，", "每秒。", "那么", "the light; ", "as it is. ", "well, ", "word ", "一二三四五六七八九十")


def blocks(text: str, limit: int) -> list[str]:
    return list(pack(text, BORDERS, limit, len))


class TestSpans:
    @pytest.mark.parametrize("span", SPANS)
    @pytest.mark.parametrize("filler", FILLERS)
    def test_none_is_cut(self, span: str, filler: str) -> None:
        for before in range(90):
            text = (filler * 100)[:before] + filler + span + filler * 20
            packed = blocks(text, 80)
            assert "".join(packed).strip() == text.strip()
            assert max(map(len, packed)) <= 80
            assert any(span in block for block in packed)

    def test_one_that_is_too_long_is_cut_at_a_mark(self) -> None:
        packed = blocks("https://example.com/" + "path/" * 60, 80)
        assert max(map(len, packed)) <= 80
        assert all(block.endswith("/") for block in packed)

    @given(st.text(st.sampled_from("a1 ,.:;?/，。：１字"), max_size=300), st.integers(1, 40))
    def test_everything_is_in_blocks_of_bounded_length(self, text: str, limit: int) -> None:
        packed = blocks(text, limit)
        assert max(map(len, packed), default=0) <= limit
        assert re.sub(r"\s", "", "".join(packed)) == re.sub(r"\s", "", text)

    def test_a_number_after_its_abbreviation_stays(self) -> None:
        assert blocks("I live in No. 5. Then. " * 3, 50)[0] == "I live in No. 5. Then. I live in No. 5. Then."


class TestCleaning:
    @pytest.mark.parametrize("text", ["报道[j][i\u030c]予", "cafe\u0301", "か\u3099"])
    def test_what_is_decomposed_is_composed(self, text: str) -> None:
        assert clean(text) in {"报道[j][ǐ]予", "café", "が"}


class TestShield:
    def test_a_normaliser_sees_no_digit_of_a_phoneme(self) -> None:
        hidden, restored = shielded("I [R][IY1][D] [2] pages [phone] of [AH0]")
        assert re.findall(r"\d", hidden) == ["2"]
        pieces = hidden.replace("[2]", "two").partition("pages")
        assert "".join(map(restored, pieces)) == "I [R][IY1][D] two pages [phone] of [AH0]"

    def test_what_is_lost_on_the_way_is_not_invented(self) -> None:
        _, restored = shielded("no phoneme")
        assert restored("[phone]") == "[phone]"
