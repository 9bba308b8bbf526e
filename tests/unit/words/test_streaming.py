"""Text that arrives character by character is read as the whole is, where the context lies in the same clause."""

import pytest

from cosyserve_words.reading import read
from cosyserve_words.spans import Options
from cosyserve_words.streaming import settled

TEXTS = [
    (
        "en",
        "Call me at 5:30 p.m. tomorrow. It costs $3.50, not $4, and Dr. Smith paid 1,234.5 for it. See No. 5, 3. 14.",
    ),
    ("en", "Pi is 3.14159, e is 2.718. Version 2.0.1 is out: see https://example.com/a,b?c=1. Ask (in 2024) again!"),
    ("en", "# Title\n* one [link](https://example.com) here\n* two **bold, really** three\n\nThe end. **Done**"),
    (
        "zh",
        "现在是14：30，气温25℃。他花了￥1,234.5，买了3公斤茶叶。比分3：2！电话：138 0013 8000。第3-5章，共5.5万字。",
    ),
    ("zh", "“你好。”他说，“我有6 members，在2024年5月6日。”版本v2.0.1，网址example.com，好。"),
    ("ja", "2025年9月3日、りんごを3こください。1,234円です。"),
]


def words(pieces: list[str], language: str) -> str:
    said = (read(piece, Options(language)).text for piece in pieces)
    return "".join("".join(said).split())


@pytest.mark.parametrize(("language", "text"), TEXTS, ids=range(len(TEXTS)))
def test_one_character_at_a_time(language: str, text: str) -> None:
    pieces, waiting = [], ""
    for char in text:
        waiting += char
        end = settled(waiting)
        if end:
            pieces.append(waiting[:end])
            waiting = waiting[end:]
    assert len(pieces) > 1
    assert words([*pieces, waiting], language) == words([text], language)


@pytest.mark.parametrize(("language", "text"), TEXTS, ids=range(len(TEXTS)))
def test_what_is_settled_stays_so(language: str, text: str) -> None:
    ends = [settled(text[:length]) for length in range(len(text) + 1)]
    assert ends == sorted(ends)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("", 0),
        ("Hello", 0),
        ("Hello.", 0),
        ("Hello. ", 0),
        ("Hello. W", 6),
        ("It is 3.", 0),
        ("It is 3. ", 0),
        ("It is 3. 5", 0),
        ("It is 3. W", 8),
        ("No. 5", 0),
        ("So did Dr. S", 0),
        ("你好。", 0),
        ("你好。我", 3),
        ("14：3", 0),
        ("see [a, b", 0),
        ("<speak>Hello. World", 0),
        ("<speak>Hello.</speak>", 21),
        ("<spe", 0),
    ],
)
def test_what_waits_for_more(text: str, end: int) -> None:
    assert settled(text) == end
