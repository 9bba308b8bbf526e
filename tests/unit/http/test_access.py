"""Keys: where they come from, whose they are, and what a wrong file is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from cosyserve.http.access import Keyring, load_keyring, sent_key
from cosyserve.settings.sections import ServerSettings, SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


class TestLoading:
    def test_none(self) -> None:
        assert not load_keyring(ServerSettings())

    def test_of_the_configuration(self) -> None:
        ring = load_keyring(ServerSettings(api_keys=("one", "two:2")))
        assert (ring.owner_of("one"), ring.owner_of("two:2"), ring.owner_of("three")) == ("key-1", "key-2", None)

    def test_of_a_file_too(self, file: Path) -> None:
        file.write_text("# the web shop\nshop: abc\n\n  phone:d:e:f  \n", encoding="utf-8")
        ring = load_keyring(ServerSettings(api_keys=("one",), api_keys_file=file))
        owners = [ring.owner_of(key) for key in ("one", "abc", "d:e:f", "shop", "")]
        assert owners == ["key-1", "shop", "phone", None, None]

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            ("", "no key"),
            ("# none yet\n", "no key"),
            ("shop:abc\nsecret\n", "line 2"),
            ("shop:\n", "line 1"),
            (":secret\n", "line 1"),
            ("the shop:secret\n", "line 1"),
            ("shop:sécret\n", "line 1"),
            ("shop:secret\nshop:other\n", "two keys are named shop"),
            ("key-1:secret\n", "two keys are named key-1"),
        ],
    )
    def test_a_file_that_is_wrong(self, file: Path, content: str, says: str) -> None:
        file.write_text(content, encoding="utf-8")
        keys = ("one",) if "key-1" in content else ()
        with pytest.raises(SettingsError, match=says) as problem:
            load_keyring(ServerSettings(api_keys=keys, api_keys_file=file))
        assert str(file) in str(problem.value)
        assert "secret" not in str(problem.value)

    @pytest.mark.parametrize("content", [None, b"shop:\xff\n"])
    def test_a_file_that_cannot_be_read(self, file: Path, content: bytes | None) -> None:
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SettingsError, match="cannot be read"):
            load_keyring(ServerSettings(api_keys_file=file))


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), min_size=1), st.text())
def test_a_key_has_its_owner_and_nothing_else_has(keys: dict[str, str], other: str) -> None:
    ring = Keyring(keys)
    for key in keys.values():
        owner = ring.owner_of(key)
        assert owner is not None
        assert keys[owner] == key
    assert (ring.owner_of(other) is None) == (other not in keys.values())


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ({}, {}, ""),
        ({"authorization": "Bearer abc"}, {}, "abc"),
        ({"authorization": "bearer  abc "}, {}, "abc"),
        ({"authorization": "Bearer abc", "x-api-key": "def"}, {"api_key": "ghi"}, "abc"),
        ({"authorization": "Basic abc"}, {}, ""),
        ({"x-api-key": "def"}, {"api_key": "ghi"}, "def"),
        ({}, {"api_key": "ghi"}, "ghi"),
    ],
)
def test_where_a_key_is_sent(headers: dict[str, str], query: dict[str, str], key: str) -> None:
    assert sent_key(Headers(headers), query) == key
