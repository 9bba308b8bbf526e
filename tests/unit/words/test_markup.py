"""Markdown, HTML, LaTeX, emoji, the author's marks: what shapes is dropped and says so, the words stay."""

import pytest

from cosyserve_words.reading import read
from cosyserve_words.spans import DROPPED, Options

STRIPPED = [
    ("**Bold** text", "Bold text"),
    ("an *old* _trick_ and ***both***", "an old trick and both"),
    ("~~not~~ this, ==that==", "not this, that"),
    ("run `make` first", "run make first"),
    ("snake_case stays", "snake case stays"),
    ("2 * 3 * 4", "two times three times four"),
    ("a price* applies", "a price applies"),
    ("see [the docs](https://example.com/a_(b)) now", "see the docs now"),
    ('![a cat](cat.png "Cat") sleeps', "a cat sleeps"),
    ("go to <https://example.com>", "go to HTTPS colon slash slash example dot com"),
    ("as shown[1] before[2, 3].", "as shown before."),
    ("a note[^1] here", "a note here"),
    (r"not \*bold\* here", "not bold here"),
    ("# Heading\n* first item\n* second item", "Heading. first item. second item"),
    ("## Done ##\ntext", "Done. text"),
    ("- [x] milk\n- [ ] eggs", "milk. eggs"),
    ("1. one\n2. two", "one. one. two. two"),
    ("> quoted\n> more", "quoted. more"),
    ("up\n---\ndown", "up. down"),
    ("| Name | Price |\n|---|---|\n| Tea | $3 |", "Name. Price. Tea. three dollars."),
    ("```\nx = 5\n```\ndone", "x equals five. done"),
    ("[docs]: https://example.com\ntext", "text"),
    ("Red\nBlue\nGreen", "Red. Blue. Green"),
    ("• tea\n• milk", "tea. milk"),
    (
        "This is a line that was wrapped by a mail program at its\nusual width, and goes on.",
        "This is a line that was wrapped by a mail program at its usual width, and goes on.",
    ),
    ("a <b>bold</b> move<br>next", "a bold move. next"),
    ("<p>One</p><p>Two</p>", "One. Two."),
    ('<a href="https://example.com">here</a> I am', "here I am"),
    ("x<!-- note -->y", "xy"),
    ("<script>var x = 5</script>text", "text"),
    ("fish &amp; chips&nbsp;&copy;", "fish and chips copyright"),
    ("x<sup>2</sup> and H<sub>2</sub>O", "x squared and H two O"),
    ("the word<sup>3</sup> ends", "the word ends"),
    ("May 5<sup>th</sup>", "May fifth"),
    ("1 < 2 and a > b", "one less than two and a greater than b"),
    (r"$\frac{1}{2}$ of $x^{2}$", "one half of x squared"),
    (r"\(a \leq b\) and \[c \neq d\]", "a less than or equal to b and c not equal to d"),
    (r"$\sqrt{16} = 4$", "square root of sixteen equals four"),
    (r"$a_1 + a_2 \times 3$", "a one plus a two times three"),
    ("It costs $5 and $6.", "It costs five dollars and six dollars."),
    ("good 👍🏽 morning ☀️!", "good morning !"),
    ("🇬🇧", ""),
    ("ＡＢＣ １２３", "ABC one hundred and twenty three"),
    ("５０％ ＋ ＝", "fifty percent plus equals"),
    ("tab\there\u00a0and\u200bthere", "tab here andthere"),
]


def said(text: str, options: Options | None = None) -> str:
    return read(text, options or Options("en")).text


@pytest.mark.parametrize(("written", "spoken"), STRIPPED)
def test_markup_is_left_out(written: str, spoken: str) -> None:
    assert said(written) == spoken


@pytest.mark.parametrize("written", [written for written, _ in STRIPPED])
def test_what_is_left_out_is_a_span(written: str) -> None:
    spans = read(written, Options("en")).spans
    assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])]
    assert spans[-1].end == len(written)
    assert all(not span.spoken for span in spans if span.kind == DROPPED)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("**Bold**", "asterisk asterisk Bold asterisk asterisk"),
        ("ok 👍", "ok thumbs up"),
        ("a_b #5", "a underscore b number five"),
        ("<b>", "less than b greater than"),
    ],
)
def test_read_names_what_strip_leaves_out(written: str, spoken: str) -> None:
    assert said(written, Options("en", markup="read")) == spoken


def test_emoji_are_named_in_the_language_of_the_text() -> None:
    assert said("好👍", Options("zh", markup="read")) == "好拇指向上"


@pytest.mark.parametrize(
    ("written", "segments"),
    [
        ("One [pause:1.5s] two", [("One", 1.5), ("two", 0.0)]),
        ("[pause:300ms]One[pause:2]", [("", 0.3), ("One", 2.0)]),
        ("One [pause:9999s]", [("One", 60.0)]),
        ("[pause:soon] one", [("[pause:soon] one", 0.0)]),
    ],
)
def test_the_author_s_pauses(written: str, segments: list[tuple[str, float]]) -> None:
    found = read(written, Options("en")).segments
    assert [(segment.text, segment.pause_s) for segment in found] == segments


def test_the_model_s_marks_are_kept_where_it_has_them() -> None:
    options = Options("en", kept=frozenset({"[breath]", "<strong>", "</strong>"}))
    assert said("Oh [breath] <strong>5</strong> <b>b</b>", options) == "Oh [breath] <strong>five</strong> b"
    assert said("Oh <strong>5</strong>") == "Oh five"
