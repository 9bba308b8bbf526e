"""What a reload may change."""

from typing import Any

import pytest

from cosyserve.http.changes import FIXED, check_changeable, differences
from cosyserve.settings.sections import Settings, SettingsError


def made(**sections: dict[str, Any]) -> Settings:
    return Settings.model_validate(sections)


def test_differences_are_named() -> None:
    one, other = made(), made(server={"port": 1, "api_keys": ["a"]}, limits={"max_waiting": 100})
    assert differences(one, one) == set()
    assert differences(one, other) == {"server.port", "server.api_keys"}


def test_what_is_fixed_is_a_setting() -> None:
    known = {f"{section}.{key}" for section in Settings.model_fields for key in vars(getattr(Settings(), section))}
    assert set(FIXED) <= known


def test_all_that_is_fixed_is_told_at_once() -> None:
    check_changeable(made(), made(limits={"max_waiting": 7}))
    with pytest.raises(
        SettingsError, match=r"log\.format cannot change.*server\.port cannot change.*or restart the server"
    ):
        check_changeable(made(), made(server={"port": 1}, log={"format": "json"}, limits={"max_waiting": 7}))
