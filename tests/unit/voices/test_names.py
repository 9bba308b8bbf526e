"""Names: which are allowed, and which are one and the same."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.errors import InvalidVoiceName
from cosyserve.voices.names import MAX_NAME_CHARS, STOCK_VOICES, clean_name, file_stem, name_key


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("bob", "bob"),
        (" Bob ", "Bob"),
        ("Alice-2_final.take", "Alice-2_final.take"),
        ("7", "7"),
        ("中文女", "中文女"),
        ("さくら", "さくら"),
        ("ロボット-2", "ロボット-2"),
        ("한국어", "한국어"),
        ("\uff42\uff4f\uff42", "bob"),
        ("CON", "CON"),
        ("x" * MAX_NAME_CHARS, "x" * MAX_NAME_CHARS),
        *((name, name) for name in sorted(STOCK_VOICES)),
    ],
)
def test_allowed(sent: str, kept: str) -> None:
    assert clean_name(sent) == kept


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "...", "-", ".bob", "bob.", "-bob", "_"),
        *(
            "../bob",
            "bob/../../etc",
            "/bob",
            "a/b",
            "a\\b",
            "C:bob",
            "bob\x00",
            "bob\n2",
            "b\tb",
            "a b",
            "%2e%2e",
            "a%2fb",
        ),
        *("bob\u200b", "b\u202eob", "bo\u0301b", "\u0430lice", "αlice", "ｂｏｂ／", "bob😀", "<b>", "'bob'", '"bob"'),
        *("default", "Default", "DEFAULT", "ｄｅｆａｕｌｔ", "x" * (MAX_NAME_CHARS + 1), "\ud800"),
    ],
)
def test_refused(name: str) -> None:
    with pytest.raises(InvalidVoiceName) as refused:
        clean_name(name)
    assert refused.value.param == "name"


@pytest.mark.parametrize(
    ("one", "other"), [("Bob", "bOB"), ("bob", "ｂｏｂ"), ("ロボ", "口ボ"), ("へい", "ヘい"), ("二番", "ニ番")]
)
def test_one_and_the_same(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)
    assert file_stem(one) == file_stem(other)


def test_hangul_in_letters_is_as_long_as_in_syllables() -> None:
    name = "한" * MAX_NAME_CHARS
    assert clean_name(unicodedata.normalize("NFD", name)) == name


def test_one_that_is_too_long_is_looked_at_no_further() -> None:
    """Each of these is eighteen characters when it is normalised; nobody is called by the key of all such names."""
    name = "\ufdfa" * 5_600_000
    assert name_key(name) == ""
    with pytest.raises(InvalidVoiceName, match="5600000 characters"):
        clean_name(name)
    with pytest.raises(InvalidVoiceName):
        clean_name("")


@given(st.text(max_size=80))
def test_any_text_is_a_clean_name_or_refused(text: str) -> None:
    try:
        name = clean_name(text)
    except InvalidVoiceName:
        return
    assert clean_name(name) == name
    assert name_key(name) == name_key(text)
    assert not set(name) & set("/\\\0%: ")


@given(st.text(st.characters(codec=None), max_size=80))
def test_a_file_is_called_by_a_hash(text: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", file_stem(text))
