"""Half a surrogate pair is dropped, and nothing else of any JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.speech.json_text import MAX_MARKS, sprawls, without_halves

texts = st.text(st.characters(codec=None))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
)


def whole(value: Any) -> Any:
    """The same without surrogates."""
    match value:
        case str():
            return value.encode("utf-8", "ignore").decode()
        case list():
            return [whole(one) for one in value]
        case dict():
            return {whole(key): whole(one) for key, one in value.items()}
    return value


@given(values)
def test_halves_alone_are_dropped(value: Any) -> None:
    # Two halves that stand side by side are a pair as soon as they are written.
    written = json.dumps(value)
    assert json.loads(without_halves(written.encode())) == whole(json.loads(written))


@pytest.mark.parametrize("raw", [b"", b"{", b"\\ud83d", b'{"a": "\\ud83d', b"[" * 100_000 + b"\\ud83d", b"\xff\\ud83d"])
def test_what_is_no_json_is_left_as_it_is(raw: bytes) -> None:
    assert without_halves(raw) == raw


def test_sprawl() -> None:
    assert not sprawls(b"[" + b"1," * (MAX_MARKS - 2) + b"1]")
    assert sprawls(b"[" + b"1," * MAX_MARKS + b"1]")
    assert not sprawls(b'"' + b"A" * 10_000_000 + b'"')
