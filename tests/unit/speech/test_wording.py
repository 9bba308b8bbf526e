import json

import pytest

from cosyserve.errors import InvalidField
from cosyserve.speech.wording import (
    MAX_PRONUNCIATIONS,
    MAX_SPOKEN_CHARS,
    MAX_WRITTEN_CHARS,
    checked_pronunciations,
    language_tag,
    pronunciations_field,
)


@pytest.mark.parametrize("tag", ["", "en", "zh", "yue", "pt-BR", "zh-Hant-HK", "de-CH-1996", "en-x-abc"])
def test_a_language_is_a_tag_as_bcp_47_has_them(tag: str) -> None:
    assert language_tag(tag, "language") == tag


@pytest.mark.parametrize(
    "tag", ["e", "english please", "zh_CN", "中文", "en-", "-en", "en-123456789", "e" * 36, "en\n"]
)
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(InvalidField, match="a tag like en, zh or pt-BR is needed") as refusal:
        language_tag(tag, "language")
    assert refusal.value.param == "language"


def test_pronunciations_come_as_a_json_object_in_a_form() -> None:
    assert pronunciations_field("", "pronunciations") == ()
    assert pronunciations_field('{"nginx": "engine x", "重庆": "重（chóng）庆"}', "pronunciations") == (
        ("nginx", "engine x"),
        ("重庆", "重（chóng）庆"),
    )


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ("nginx=engine x", "is not JSON"),
        ("[" * 60_000, "is not JSON"),
        ('["nginx"]', "is no JSON object"),
        ('{"": "nothing"}', "has a key that is empty or over 64 characters"),
        ('{"  ": "nothing"}', "has a key that is empty or over 64 characters"),
        (json.dumps({"x" * (MAX_WRITTEN_CHARS + 1): "y"}), "has a key that is empty or over 64 characters"),
        ('{"nginx": 1}', "what 'nginx' is spoken as must be a text of at most 256 characters"),
        (json.dumps({"a": "x" * (MAX_SPOKEN_CHARS + 1)}), "what 'a' is spoken as must be a text of at most 256"),
        (json.dumps({str(n): "x" for n in range(MAX_PRONUNCIATIONS + 1)}), "has 101 entries: the limit is 100"),
    ],
)
def test_pronunciations_that_cannot_be_taken_say_why(sent: str, why: str) -> None:
    with pytest.raises(InvalidField, match=why) as refusal:
        pronunciations_field(sent, "pronunciations")
    assert refusal.value.param == "pronunciations"


def test_what_is_dropped_is_spoken_as_nothing() -> None:
    assert checked_pronunciations({"(sic)": ""}, "pronunciations") == (("(sic)", ""),)
