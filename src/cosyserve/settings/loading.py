"""Reading the settings: built-in defaults, then config.toml, then COSYSERVE_<SECTION>__<KEY>, then flags.

The later wins. Whatever is wrong is told at once.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cosyserve.settings.environment import CLIENTS_KEY, read_environment
from cosyserve.settings.names import sections, shown, unknown, variable
from cosyserve.settings.sections import DEFAULT_PROMPT, PACKAGED, Settings, SettingsError

CONFIG_NAME = "config.toml"
SECRETS = frozenset({("server", "api_keys")})
"""What no message quotes."""
QUOTED = 100
"""Characters of a value."""

Tables = Mapping[str, Mapping[str, Any]]


def configuration_file(config: Path | None = None) -> Path | None:
    """The file that is read: `config`, else config.toml in the working directory; None where there is none."""
    return config or (Path(CONFIG_NAME) if Path(CONFIG_NAME).is_file() else None)


def load_settings(config: Path | None = None, overrides: Tables | None = None) -> Settings:
    """Read every source and check it.

    config: the file to read; None reads config.toml in the working directory where there is one.
    overrides: what flags said, as {section: {key: value}}.
    Raises SettingsError: a line that names the file, then one for each thing that is wrong.
    """
    path, flags = configuration_file(config), overrides or {}
    file, problems = _read_toml(path) if path else ({}, [])
    environment = read_environment(os.environ)
    problems += environment.problems
    try:
        settings = Settings.model_validate(_merge(file, environment.tables, flags))
        problems += _open_by_mistake(settings)
        settings = _resolve_paths(settings, path.absolute().parent if path else Path.cwd())
    except ValidationError as error:
        problems += _wrong_values(error, flags, environment.variables)
    except SettingsError as error:
        problems.append(str(error))
    if problems:
        raise SettingsError("\n  ".join([_heading(path), *problems]))
    return settings


def _heading(path: Path | None) -> str:
    read = path.absolute() if path else f"no {CONFIG_NAME} in {Path.cwd()}, the environment and flags alone"
    return f"the configuration is wrong ({shown(str(read))}):"


def _read_toml(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The tables as far as their names are settings, and what is wrong."""
    try:
        # Editors on Windows put a mark in front, which TOML does not know.
        return _sorted_out(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        return {}, ["there is no such file"]
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"it cannot be read: {error}"]
    # A number of 5,000 digits and brackets 3,000 deep are no TOMLDecodeError.
    except (ValueError, RecursionError) as error:
        return {}, [f"it is not valid TOML: {error}"]


def _sorted_out(tables: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    known: dict[str, dict[str, Any]] = {}
    problems = []
    for section, table in tables.items():
        if not isinstance(table, dict):
            problems.append(f"{section!r} stands outside a section: put it below one of {sections()}")
            continue
        lacks = {f"{section}.{key}": unknown(section, key) for key in table}
        lacks = lacks or {f"[{section}]": unknown(section, None)}
        problems += [f"{shown(name)} {lack}" for name, lack in lacks.items() if lack]
        known[section] = {key: value for key, value in table.items() if not unknown(section, key)}
    return {section: table for section, table in known.items() if table}, problems


def _merge(*sources: Tables) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for source in sources:
        for section, table in source.items():
            merged[section] = {**merged.get(section, {}), **table}
    return merged


def _wrong_values(error: ValidationError, flags: Tables, variables: Mapping[tuple[str, str], str]) -> list[str]:
    """One line a setting; one from the environment is called as it is there."""
    told: dict[tuple[str, str], str] = {}
    for problem in error.errors():
        section, key = (*map(str, problem["loc"]), "")[:2]
        setting = f"{section}.{key}" if key else section
        name = setting if key in flags.get(section, {}) else variables.get((section, key), setting)
        value = "" if (section, key) in SECRETS else f" = {repr(problem['input'])[:QUOTED]}"
        message = " ".join(problem["msg"].removeprefix("Value error, ").split())
        told.setdefault((section, key), f"{shown(name)}{value}: {message[0].lower()}{message[1:]}")
    return list(told.values())


def _open_by_mistake(settings: Settings) -> list[str]:
    """Whoever sets the client's key for the server believes it guarded."""
    server = settings.server
    if not os.environ.get(CLIENTS_KEY) or server.api_keys or server.api_keys_file:
        return []
    theirs = f"{CLIENTS_KEY} is the client's (`cosyserve say`), and this server has no key"
    ours = f"""set {variable("server", "api_keys")}='["..."]', or server.api_keys in {CONFIG_NAME}"""
    return [f"{theirs}: {ours}; or unset {CLIENTS_KEY} to leave the server open"]


def _resolve_paths(settings: Settings, base: Path) -> Settings:
    """Make every path absolute: relative ones count from the configuration file's folder."""
    keys = settings.server.api_keys_file
    server = settings.server.model_copy(update={"api_keys_file": keys and _place(base, keys)})
    model = settings.model.model_copy(
        update={
            "dir": _place(base, settings.model.dir),
            "source_dir": settings.model.source_dir and _place(base, settings.model.source_dir),
        }
    )
    prompt = settings.defaults.prompt_wav
    if prompt is not None:
        shipped = prompt == DEFAULT_PROMPT and not (base / prompt).exists()
        prompt = _place(PACKAGED if shipped else base, prompt)
    defaults = settings.defaults.model_copy(update={"prompt_wav": prompt})
    voices = settings.voices.model_copy(update={"dir": _place(base, settings.voices.dir)})
    changed = {"server": server, "model": model, "defaults": defaults, "voices": voices}
    return settings.model_copy(update=changed)


def _place(base: Path, path: Path) -> Path:
    try:
        return base / path.expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{path}: nobody here has a home directory of that name") from error
