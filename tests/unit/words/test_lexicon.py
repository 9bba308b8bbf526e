"""How the author wants words to be said: whole words, by case and language, from a file or a request."""

from pathlib import Path

import pytest

from cosyserve_words.lexicon import MOST_ENTRIES, Entry, Lexicon, load, of_pairs
from cosyserve_words.reading import read
from cosyserve_words.spans import LEXICON, Options, Unreadable


def said(text: str, lexicon: Lexicon, language: str = "en") -> str:
    return read(text, Options(language, lexicon=lexicon)).text


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Use SQL now.", "Use sequel now."),
        ("sql is fine", "sequel is fine"),
        ("MySQL and SQLite stay.", "MySQL and SQLite stay."),
        ("I like nginx 5 and NGINX.", "I like engine x five and engine x."),
        ("The 3M tape", "The three em tape"),
        ("用SQL吧", "用sequel吧"),
        ("New York is not New York City.", "the apple is not the big apple."),
    ],
)
def test_whole_words_before_every_rule(written: str, spoken: str) -> None:
    words = {"SQL": "sequel", "nginx": "engine x", "3M": "three em", "New York": "the apple"}
    assert said(written, of_pairs(words | {"New York City": "the big apple"})) == spoken


def test_a_word_of_it_is_a_span() -> None:
    spans = read("Use SQL 5", Options("en", lexicon=of_pairs({"SQL": "sequel"}))).spans
    assert [(span.kind, span.spoken) for span in spans][1] == (LEXICON, "sequel")


def test_case_and_language() -> None:
    lexicon = Lexicon([Entry("US", "you ess", cased=True), Entry("重庆", "虫庆", "zh"), Entry("重庆", "every")])
    assert said("US told us", lexicon) == "you ess told us"
    assert said("去重庆", lexicon, "zh") == "去虫庆"
    assert said("去重庆", lexicon, "ja") == "去every"


def test_a_request_s_words_come_before_the_service_s() -> None:
    lexicon = of_pairs({"SQL": "squeal"}).over(of_pairs({"SQL": "sequel", "API": "a p i"}))
    assert said("SQL API", lexicon) == "squeal a p i"


def test_files(tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text(
        '["*"]\nSQL = "sequel"\nUS = { spoken = "you ess", cased = true }\n[zh]\n"重庆" = "虫庆"\n', "utf-8"
    )
    (tmp_path / "words.csv").write_text(
        "\ufeffwritten,spoken,language,cased\n# a comment\nSQL,sequel\nUS,you ess,*,true\n重庆,虫庆,zh\n", "utf-8"
    )
    expected = (Entry("SQL", "sequel"), Entry("US", "you ess", cased=True), Entry("重庆", "虫庆", "zh"))
    assert load(tmp_path / "words.toml").entries == expected
    assert load(tmp_path / "words.csv").entries == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b'SQL = "sequel"', "stands in no table"),
        ("a.toml", b"[en]\nSQL = 5", "[en] SQL"),
        ("a.toml", b'[en]\nSQL = { spoken = "x", case = 1 }', "[en] SQL"),
        ("a.toml", b"[en", "a.toml"),
        ("a.csv", b"written,spoken\nSQL", "line 2"),
        ("a.csv", b"a,b,c,d,e", "line 1"),
        ("a.csv", b"\xff,b", "not UTF-8"),
        ("a.csv", b"a," + b"b" * 201, "1 to 200"),
    ],
)
def test_what_a_file_must_not_hold_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable) as refused:
        load(tmp_path / name)
    assert message in str(refused.value)
    assert name in str(refused.value)


def test_no_lexicon_is_endless() -> None:
    with pytest.raises(Unreadable, match="20000"):
        Lexicon(Entry(f"w{number}", "x") for number in range(MOST_ENTRIES + 1))
