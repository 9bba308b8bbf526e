"""Where text is cut: not too short, not in numbers and names, and the same however it arrives."""

import itertools
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.live.clauses import MAX_CLAUSE_CHARS, ClauseCutter
from cosyserve_words.reading import read
from cosyserve_words.spans import Options

ASKED = (Path(__file__).parents[1] / "words" / "asked.tsv").read_text(encoding="utf-8").splitlines()

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
        ("My house is No. 5 Baker Street. It is old.", ["My house is No. 5 Baker Street.", "It is old."]),
        ("That is all, no. Then I left.", 2),
        ("I do not think so, no. That is all.", ["I do not think so,", "no. That is all."]),
        ("Look at Fig. 3. Then read on.", ["Look at Fig. 3.", "Then read on."]),
        ("See pp. 12 and vol. 3, please. Thanks.", ["See pp. 12 and vol. 3,", "please.", "Thanks."]),
        ("现在的北京时间是14：30，请注意。", ["现在的北京时间是14：30，", "请注意。"]),
        ("现在的北京时间：14点整。", ["现在的北京时间：", "14点整。"]),
        ("号码是１，２３４，５６７。好的好的。", ["号码是１，２３４，５６７。", "好的好的。"]),
        ("On Friday, May 5, 2024, we met.", ["On Friday, May 5, 2024,", "we met."]),
        ("It happened in 1990. 5 people came.", ["It happened in 1990.", "5 people came."]),
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


@pytest.mark.parametrize(
    ("text", "more"),
    [("Go and find No. ", "5 Baker Street. "), ("现在的北京时间是14：", "30，"), ("Now look at page 3.", "5 of it, ")],
)
def test_a_digit_that_may_follow_is_waited_for(text: str, more: str) -> None:
    cutter = ClauseCutter()
    assert cutter.feed(text) == []
    assert "".join([*cutter.feed(more), *cutter.flush()]) == (text + more).strip()


def test_a_sentence_that_ends_in_a_digit_waits_for_a_space_alone() -> None:
    cutter = ClauseCutter()
    assert cutter.feed("Now look at page 3.") == []
    assert cutter.feed(" ") == ["Now look at page 3."]


@pytest.mark.parametrize("number", ["299792458", "2024/10/05", "138 0013 8000", "１２３４５"])
def test_nor_does_the_limit_cut_a_number(number: str) -> None:
    for before in range(MAX_CLAUSE_CHARS - 20, MAX_CLAUSE_CHARS):
        assert any(number in clause for clause in cut("字" * before + number + "字" * 50))


class TestSystemPrompts:
    TEXT = "You are a helpful assistant. 请用广东话表达。<|endofprompt|>收到好友的礼物。今天真好！"

    def test_is_no_clause(self) -> None:
        cutter = ClauseCutter()
        assert cutter.feed(self.TEXT) == ["收到好友的礼物。", "今天真好！"]
        assert cutter.system_prompt == "You are a helpful assistant. 请用广东话表达。"

    def test_one_sentence_may_come_in_pieces(self) -> None:
        cutter = ClauseCutter()
        assert cutter.feed("You are a helpful") == cutter.feed(" assistant.<|endof") == []
        assert cutter.feed("prompt|>Hello there. ") == ["Hello there."]
        assert cutter.system_prompt == "You are a helpful assistant."

    def test_a_mark_that_comes_later_is_left_out(self) -> None:
        cutter = ClauseCutter()
        assert cutter.feed("Hello there. ") == ["Hello there."]
        assert cutter.feed("And now <|endofprompt|>goodbye. ") == ["And now  goodbye."]
        assert cutter.system_prompt == ""


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


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Well then, see [the docs, all of them. Really](https://x.org) now. Bye.", 2),
        ("He waited for a long while [pause:1.5s] and left. Bye now.", 2),
        ("Let it be $x = 1, y = 2. Or so$ for all of them. Good bye.", 2),
        ("It costs $5. That is a lot.", ["It costs $5.", "That is a lot."]),
        ("<?xml version='1.0'?><speak>One, two and three. Four.</speak> And six.", 2),
        ("<speak>One, two and three. Four. <break time='1s'/> Five.</speak> And six.", 2),
    ],
)
def test_what_belongs_together_is_not_cut(text: str, clauses: list[str] | int) -> None:
    found = cut(text)
    assert found == clauses or len(found) == clauses
    assert cut(text, list(range(len(text)))) == found


def bare(text: str) -> str:
    """Letters and figures, in one case and one width."""
    return said(unicodedata.normalize("NFKC", text)).casefold()


@pytest.mark.parametrize("line", [line for line in ASKED if line and not line.startswith("#")])
def test_clauses_say_what_the_whole_says(line: str) -> None:
    language, written, *_ = line.split("\t")
    text, options = written.replace("\\n", "\n"), Options(language=language)
    clauses = cut(text, list(range(len(text))))
    assert bare(" ".join(read(clause, options).text for clause in clauses)) == bare(read(text, options).text)


@pytest.mark.parametrize(("text", "clause"), [("It is 3.", "It is 3."), ("Call No.", "Call No."), ("总共是3，", None)])
def test_who_hurries_does_not_wait_for_what_may_follow(text: str, clause: str | None) -> None:
    cutter = ClauseCutter()
    assert cutter.feed(text) == []
    assert cutter.waits
    assert cutter.hurry() == ([clause] if clause else [])
    assert not cutter.waits
    assert cutter.hurry() == []
    assert said("".join([*cutter.feed(" Then more of it. "), *cutter.flush()])).endswith("Thenmoreofit")


def test_there_is_no_hurry_in_the_middle_of_a_word() -> None:
    cutter = ClauseCutter()
    assert cutter.feed("It is thr") == []
    assert not cutter.waits
    assert cutter.hurry() == []
    assert cutter.feed("ee o'clock. Ye") == ["It is three o'clock."]
