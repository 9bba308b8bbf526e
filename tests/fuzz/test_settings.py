"""Configuration files and environments of any content: settings come out, or a SettingsError, a line a mistake."""

import json
import os
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cosyserve.settings.loading import load_settings
from cosyserve.settings.sections import PACKAGED, Settings, SettingsError
from tests.fuzz.exploring import examples, explore
from tests.fuzz.values import NASTY, mutated

SHIPPED = (PACKAGED / "config.toml").read_bytes()
NAMES = [
    (section, key)
    for section, field in Settings.model_fields.items()
    if field.annotation is not None
    for key in field.annotation.model_fields
]
VALUES = (
    "", "0", "-1", "1", "1.5", "1e999", "-inf", "inf", "nan", "9" * 30, "9" * 5000, "true", "null", "[]", "{}", "[[]]",
    '["a"]',
    "[1]", '{"a": 1}', '"', "'", "~", "~nobody/x", "~/x", "/", "\ud800", "1KiB", "1e400GB", "-1MB", "nanMB", "0x10",
    "1_000",
    "a" * 5000, "[" * 2000, "{" * 2000, "1 B", "1979-05-27", "127.0.0.1",
)  # fmt: skip

Variables = dict[str, str]


def toml_values() -> SearchStrategy[str]:
    """As they stand behind the equals sign, whole or not."""
    quoted = st.one_of(st.sampled_from([*VALUES, *NASTY]), st.text(max_size=10)).map(json.dumps)
    return st.one_of(st.sampled_from(VALUES), quoted, st.just("1"), st.just('"1"'))


def lines() -> SearchStrategy[str]:
    section, key = st.sampled_from([name for name, _ in NAMES]), st.sampled_from(NAMES)
    return st.one_of(
        st.builds("[{}]".format, section),
        st.builds(lambda name, value: f"[{name[0]}]\n{name[1]} = {value}", key, toml_values()),
        st.builds("{} = {}".format, st.one_of(section, st.text(max_size=6)), toml_values()),
        st.sampled_from(
            ["[", "[[server]]", "[server.port]", "server = 1", "server.port.x = 1", '["\\ud800"]', "a = " + "[" * 3000]
        ),
    )


def files() -> SearchStrategy[bytes]:
    made = st.lists(lines(), max_size=5).map(lambda some: "\n".join(some).encode("utf-8", "surrogatepass"))
    return st.one_of(made, mutated(made), mutated(st.just(SHIPPED)), st.binary(max_size=60))


def variables() -> SearchStrategy[Variables]:
    """Whole sections as JSON among them; what the system would not take as an environment is left out."""
    names = st.one_of(
        st.sampled_from(NAMES).map(lambda name: f"COSYSERVE_{name[0]}__{name[1]}".upper()),
        st.sampled_from([f"COSYSERVE_{name}".upper() for name, _ in NAMES]),
        st.sampled_from(
            ["COSYSERVE_", "COSYSERVE___", "COSYSERVE_SERVER__", "COSYSERVE_SERVER__PORT__X", "cosyserve_log__level"]
        ),
    )
    values = st.one_of(st.sampled_from(VALUES), st.text(max_size=20), st.sampled_from(NASTY))
    return st.dictionaries(names, values.filter(can_be_in_an_environment), max_size=4)


def can_be_in_an_environment(value: str) -> bool:
    """Half characters stand for bytes that are no UTF-8, and only some of them."""
    return "\0" not in value and all(not "\ud800" <= character <= "\udfff" for character in value)


def load(path: Path, content: bytes, environment: Variables) -> str:
    """What is wrong with it; whatever else comes out than settings or SettingsError fails the test."""
    path.write_bytes(content)
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith("COSYSERVE_")}
    with patch.dict(os.environ, {**others, **environment}, clear=True):
        told = problem(path)
    assert all(line.startswith("  ") for line in told.splitlines()[1:]), told
    return told


def problem(path: Path) -> str:
    """What is wrong with it; "" where nothing is."""
    try:
        load_settings(path)
    except SettingsError as error:
        return str(error)
    return ""


FOUND: dict[str, tuple[bytes, Variables]] = {
    "a section's own variable": (b"", {"COSYSERVE_SERVER": "0"}),
    "nested without end, in TOML": (b"a = " + b"[" * 3000, {}),
    "nested without end, in JSON": (b"", {"COSYSERVE_SERVER__API_KEYS": "[" * 100_000}),
    "a number of 5,000 digits": (b"[server]\nport = " + b"9" * 5000, {}),
    "the home of nobody": (b'[voices]\ndir = "~nobody_here/voices"', {}),
    "a line break in a key": (b'[server]\n"a\\nb" = 1', {}),
    "a line break in a section": (b'["a\\nb"]', {}),
    "for ever": (b"[server]\nclient_stall_timeout_s = inf", {}),
}
"""What these drivers have found, each by its reason."""


@pytest.mark.parametrize("reason", FOUND)
def test_what_was_found(tmp_path: Path, reason: str) -> None:
    assert load(tmp_path / "config.toml", *FOUND[reason])


@examples(250, 20_000)
def test_files(tmp_path: Path, count: int) -> None:
    explore(files(), count, lambda content: load(tmp_path / "config.toml", content, {}))


@examples(250, 20_000)
def test_environments(tmp_path: Path, count: int) -> None:
    explore(variables(), count, lambda environment: load(tmp_path / "config.toml", b"", environment))
