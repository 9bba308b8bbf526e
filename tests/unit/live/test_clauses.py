"""Where text is cut: not too short, not in numbers and names, and the same however it arrives."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.live.clauses import MAX_CLAUSE_CHARS, ClauseCutter

texts = st.text(st.sampled_from("ab9 你好.!?,;:。！？，；、…\n\"'”）)1"), max_size=400)


def cut(text: str, bounds: list[int] | None = None) -> list[str]:
    """The clauses of a text that arrives in pieces."""
    cutter = ClauseCutter()
    edges = [0, *sorted(min(bound, len(text)) for bound in bounds or []), len(text)]
    clauses = [clause for start, end in itertools.pairwise(edges) for clause in cutter.feed(text[start:end])]
    return clauses + cutter.flush()


def said(text: str) -> str:
    """Letters and digits."""
    return "".join(character for character in text if unicodedata.category(character)[0] in "LN")


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Welcome to our place. What can I get you?", ["Welcome to our place.", "What can I get you?"]),
        ("It is 3.14 or so. Yes, about 1,000.50 in all.", ["It is 3.14 or so.", "Yes, about 1,000.50 in all."]),
        ("Dr. Smith met Mr. J. Doe in the U.S. army. Then he left.", 2),
        ("See example.com/a?b=c for more. Or ask.", ["See example.com/a?b=c for more.", "Or ask."]),
        ("Use tools, e.g. a hammer. Good luck!", ["Use tools, e.g. a hammer.", "Good luck!"]),
        ('He said "Go away!" and left the room.', ['He said "Go away!', "and left the room."]),
        ("Hi! How are you today?", ["Hi! How are you today?"]),
        ("好。今天想吃点什么？", ["好。今天想吃点什么？"]),
        ("欢迎光临！请问您需要什么？", ["欢迎光临！", "请问您需要什么？"]),
        ("我们有红烧肉、糖醋排骨、清蒸鲈鱼，还有很多别的菜。", 2),
        ("At 10:30, we meet.", ["At 10:30, we meet."]),
        ("first line\nsecond line", ["first line", "second line"]),
        ("Wait... what is that?", ["Wait...", "what is that?"]),
        ("", []),
        ("?!... 。", []),
    ],
)
def test_examples(text: str, clauses: list[str] | int) -> None:
    found = cut(text)
    assert found == clauses or len(found) == clauses


def test_the_first_clause_may_be_shorter() -> None:
    """Everybody waits for it."""
    text = "Certainly sir, of course sir, the menu for today is on this table, or over there."
    first, second, *_ = cut(text)
    assert first == "Certainly sir,"
    assert len(second) > len(first)


def test_a_clause_leaves_with_its_last_character() -> None:
    cutter = ClauseCutter()
    assert cutter.feed("欢迎光临") == []
    assert cutter.feed("！") == ["欢迎光临！"]
    assert cutter.feed("Hello there.") == []
    assert cutter.feed(" ") == ["Hello there."]


def test_without_punctuation_there_is_a_limit() -> None:
    assert max(map(len, cut("word " * 200))) <= MAX_CLAUSE_CHARS
    assert max(map(len, cut("字" * 1000))) <= MAX_CLAUSE_CHARS
    assert not any(clause.startswith("ord") for clause in cut("word " * 200))


def test_after_a_flush_the_next_text_begins_anew() -> None:
    cutter = ClauseCutter()
    cutter.feed("Certainly sir, and")
    assert cutter.flush() == ["and"]
    assert cutter.pending_chars == 0
    assert cutter.feed("Certainly sir, ") == ["Certainly sir,"]


@given(texts, st.lists(st.integers(0, 400), max_size=30))
def test_pieces_make_no_difference(text: str, bounds: list[int]) -> None:
    assert cut(text, bounds) == cut(text)


@given(texts)
def test_nothing_is_lost_and_nothing_is_said_twice(text: str) -> None:
    assert said("".join(cut(text))) == said(text)


@given(texts)
def test_every_clause_can_be_spoken(text: str) -> None:
    for clause in cut(text):
        assert said(clause)
        assert clause == clause.strip()
        assert len(clause) <= MAX_CLAUSE_CHARS
