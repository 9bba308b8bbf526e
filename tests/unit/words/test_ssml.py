"""SSML: what is taken does what it says; what is not is named."""

import pytest

from cosyserve_words.reading import read
from cosyserve_words.spans import Options, Unreadable


def spoken(inside: str, language: str = "en") -> list[tuple[str, float]]:
    found = read(f"<speak>{inside}</speak>", Options(language, pinyin=True)).segments
    return [(segment.text, segment.pause_s) for segment in found]


@pytest.mark.parametrize(
    ("inside", "segments"),
    [
        ("plain", [("plain", 0)]),
        ('One<break time="500ms"/>two', [("One", 0.5), ("two", 0)]),
        ("One<break/>two", [("One", 0.4), ("two", 0)]),
        ('One<break strength="strong"></break>two', [("One", 0.7), ("two", 0)]),
        ("<p>One</p><p>Two</p>", [("One. Two.", 0)]),
        ("<s>One</s> <s>Two!</s>", [("One. Two!", 0)]),
        ('<sub alias="World Wide Web 2">WWW</sub>', [("World Wide Web two", 0)]),
        ('<say-as interpret-as="characters">AB1</say-as>', [("A B one", 0)]),
        ('<say-as interpret-as="spell-out">a-b</say-as>', [("a dash b", 0)]),
        ('<say-as interpret-as="digits">2024</say-as>', [("two zero two four", 0)]),
        ('<say-as interpret-as="telephone">555-0199</say-as>', [("five five five, zero one nine nine", 0)]),
        ('<say-as interpret-as="cardinal">2024</say-as>', [("two thousand and twenty four", 0)]),
        ('<say-as interpret-as="cardinal">-1.5</say-as>', [("minus one point five", 0)]),
        ('<say-as interpret-as="ordinal">21</say-as>', [("twenty first", 0)]),
        (
            '<say-as interpret-as="date" format="mdy">5/6/2024</say-as>',
            [("the sixth of May twenty twenty four", 0)],
        ),
        (
            '<say-as interpret-as="date" format="dmy">5/6/2024</say-as>',
            [("the fifth of June twenty twenty four", 0)],
        ),
        ("2 &lt; 3 &amp; **x**", [("two less than three and x", 0)]),
        ('<lang xml:lang="zh-CN">5个</lang>', [("五个", 0)]),
        ('<phoneme alphabet="pinyin" ph="h ǎo">好</phoneme>', [("[h][ǎo]", 0)]),
        ("It is 5<!-- five --> km.", [("It is five km.", 0)]),
    ],
)
def test_what_is_taken(inside: str, segments: list[tuple[str, float]]) -> None:
    assert spoken(inside) == segments


def test_figures_of_a_tag_are_of_the_request_s_language() -> None:
    assert spoken('<say-as interpret-as="digits">12</say-as>个', "zh") == [("一二个", 0)]


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ('<voice name="x">a</voice>', "<voice> is not taken"),
        ("<prosody>a</prosody>", "<prosody> is not taken"),
        ('<say-as interpret-as="time">5</say-as>', 'interpret-as="time"'),
        ("<say-as>5</say-as>", "<say-as> needs interpret-as"),
        ("<sub>5</sub>", "<sub> needs alias"),
        ('<break time="soon"/>', "500ms"),
        ('<break strength="huge"/>', "x-strong"),
        ("<p>a", "</speak> closes nothing"),
        ("a</p>", "</p> closes nothing"),
        ("a < b", "&lt;"),
        ('<phoneme alphabet="ipa" ph="a">a</phoneme>', "pinyin"),
        ('<sub alias="b"><p>a</p></sub>', "<p> stands in <sub>"),
    ],
)
def test_what_is_not_taken_is_named(inside: str, message: str) -> None:
    with pytest.raises(Unreadable) as refused:
        spoken(inside)
    assert message in str(refused.value)


def test_a_speak_that_is_not_closed() -> None:
    with pytest.raises(Unreadable, match="<speak> is not closed"):
        read("<speak>a", Options("en"))


def test_elsewhere_tags_are_html() -> None:
    assert read('say <voice name="x">a</voice>', Options("en")).text == "say a"


@pytest.mark.parametrize("unit", ["<!--", '<a "', "<a '", "<a b=", "<", "<a <!-"])
def test_what_never_ends_is_refused_at_once(unit: str) -> None:
    # Looked for again from each place, the end of these would take minutes.
    with pytest.raises(Unreadable, match="&lt;"):
        read("<speak>" + unit * 100_000, Options("en"))
