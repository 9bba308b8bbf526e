"""The names of settings: which there are, and which one a wrong name was meant for."""

import difflib
import re
from collections import Counter
from collections.abc import Mapping

from cosyserve.settings.sections import Settings

ENV_PREFIX = "COSYSERVE_"


def keys(section: str) -> tuple[str, ...]:
    """The keys of a section; none where there is no such section."""
    field = Settings.model_fields.get(section)
    return tuple(field.annotation.model_fields) if field and field.annotation else ()


def is_list(section: str, key: str) -> bool:
    """Whether a setting is a list, which the environment holds as JSON."""
    return isinstance(getattr(getattr(Settings(), section), key), tuple)


def variable(section: str, key: str) -> str:
    """What a setting is called in the environment."""
    return f"{ENV_PREFIX}{section}__{key}".upper()


def unknown(section: str, key: str | None) -> str:
    """Say that a name of a file is none, and the nearest; empty where it is one. key: None for the section itself."""
    if section not in Settings.model_fields:
        return f"is not a setting{_meant(section, {name: name for name in Settings.model_fields})}"
    if key is None or key in keys(section):
        return ""
    every = {f"{owner}.{name}": f"{owner}.{name}" for owner, name in _settings()}
    return f"is not a setting{_meant(f'{section}.{key}', every)}"


def unknown_variable(name: str) -> str:
    """Say that a variable with our prefix is no setting, and the nearest that is one."""
    # People write one underscore for two, and leave the section out.
    wanted = re.sub(r"_+", "_", name[len(ENV_PREFIX) :].lower()).strip("_")
    if wanted in Settings.model_fields:
        return f"is not a setting: write {ENV_PREFIX}{wanted.upper()}__KEY"
    owners = Counter(key for _, key in _settings())
    bare = {key: variable(section, key) for section, key in _settings() if owners[key] == 1}
    known = {f"{section}_{key}": variable(section, key) for section, key in _settings()} | bare
    # With a known key, the section is what is wrong.
    key = name.lower().partition("__")[2]
    return f"is not a setting{_meant(key if key in bare else wanted, known)}"


def sections() -> str:
    """All of them, for a line."""
    return ", ".join(f"[{name}]" for name in Settings.model_fields)


def shown(name: str) -> str:
    """A name that somebody wrote, fit for a line."""
    return name if name.isprintable() else ascii(name)


def _settings() -> list[tuple[str, str]]:
    return [(section, key) for section in Settings.model_fields for key in keys(section)]


def _meant(wrong: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f": did you mean {known[near[0]]}?" if near else f": the sections are {sections()}"
