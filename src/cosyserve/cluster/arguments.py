"""What an operator asks for, on the command line or as `args` in the YAML of `serve deploy`, to a plan."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cosyserve.check.engines import choose, unknown_engine
from cosyserve.settings.environment import read_environment
from cosyserve.settings.loading import configuration_file, load_settings
from cosyserve.settings.names import is_list, keys
from cosyserve.settings.sections import Settings, SettingsError

SHORT = {"engine": "model.engine", "port": "server.port", "host": "server.host"}
USAGE = "one of engine=, port=, host=, config=PATH, {own} or SECTION.KEY=VALUE, a setting of config.toml"

Tables = dict[str, dict[str, Any]]


class Extent(BaseModel):
    """How much of the cluster it takes. The fields are arguments.

    replicas: of the engine: a number, "1:3" for as many as are needed between the two, or Serve's own
    `autoscaling_config`. gpus: for each of them, also a part of one; None leaves it to the cluster. fronts: nodes that
    take clients. front_cpus: processors that each of these asks Ray for; with any, none is on a head that has none to
    give. surge: the per cent of replicas that a rollout starts before the old ones leave. threads: a replica's, for the
    numeric libraries; 0 is as many as its node has processors.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int | str | dict[str, Any] = 1
    gpus: float | None = Field(None, ge=0)
    fronts: int = Field(1, ge=1)
    front_cpus: float = Field(0, ge=0)
    surge: int = Field(0, ge=0)
    threads: int = Field(0, ge=0)


@dataclass(frozen=True)
class Source:
    """Where the settings come from. config: a file, which is read again for a reload where the node has it."""

    config: str | None
    overrides: Tables = field(default_factory=dict)

    def read(self) -> Settings:
        """Raises SettingsError."""
        return load_settings(Path(self.config) if self.config else None, self.overrides)

    def read_again(self, before: Settings) -> Settings:
        """Those of now; the engine that `auto` has become stays it. Raises SettingsError."""
        if self.config is None:
            return before
        settings = self.read()
        return settings.with_engine(before.model.engine) if settings.model.engine == "auto" else settings


@dataclass(frozen=True)
class Plan:
    """What is deployed."""

    settings: Settings
    source: Source
    extent: Extent


def words(arguments: Iterable[str]) -> dict[str, str]:
    """`name=value` each. Raises SettingsError."""
    split = {argument: argument.partition("=") for argument in arguments}
    for argument, (name, sign, _) in split.items():
        if not (name and sign):
            raise SettingsError(f"{argument!r} is no argument: {_usage()}")
    return {name: value for name, _, value in split.values()}


def planned(args: Mapping[str, Any]) -> Plan:
    """Raises SettingsError."""
    own = {name: value for name, value in args.items() if name in Extent.model_fields}
    named = args.get("config")
    given = {name: value for name, value in args.items() if name not in own and name != "config"}
    config = configuration_file(Path(str(named)) if named else None)
    # What this process's environment says, those on other nodes may not have.
    overrides = _merge(read_environment(os.environ).tables, _tables(given))
    source = Source(str(config.absolute()) if config else None, overrides)
    settings = source.read()
    if unknown := unknown_engine(settings.model.engine):
        raise SettingsError(unknown)
    choice = choose(settings.model.engine, settings.model.source_dir, settings.model.device)
    return Plan(settings.with_engine(choice.engine), source, _extent(own))


def scale(replicas: int | str | dict[str, Any]) -> int | dict[str, Any]:
    """A number of replicas, or Serve's `autoscaling_config`. Raises SettingsError."""
    if isinstance(replicas, dict):
        return replicas
    least, colon, most = str(replicas).partition(":")
    if not least.isdecimal() or (colon and not most.isdecimal()):
        raise SettingsError(f"replicas = {replicas!r}: it is a number, or two as in 1:3")
    if not colon:
        return int(least)
    return {"min_replicas": int(least), "max_replicas": int(most)}


def _extent(own: Mapping[str, Any]) -> Extent:
    try:
        extent = Extent.model_validate(own)
    except ValidationError as error:
        told = error.errors()[0]
        raise SettingsError(f"{told['loc'][0]} = {told['input']!r}: {told['msg'].lower()}") from error
    scale(extent.replicas)
    return extent


def _tables(given: Mapping[str, Any]) -> Tables:
    """Settings by section: `section.key`, or a mapping under the section's name."""
    tables: Tables = {}
    for name, value in given.items():
        section, _, key = SHORT.get(name, name).partition(".")
        if isinstance(value, Mapping) and not key:
            for inner, its in value.items():
                _set(tables, section, str(inner), its)
        else:
            _set(tables, section, key, value)
    return tables


def _set(tables: Tables, section: str, key: str, value: Any) -> None:
    if key not in keys(section):
        raise SettingsError(f"{f'{section}.{key}' if key else section!r} is no argument: {_usage()}")
    if isinstance(value, str) and is_list(section, key):
        value = _list(f"{section}.{key}", value)
    tables.setdefault(section, {})[key] = value


def _list(name: str, text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise SettingsError(f'{name} is a list, written as JSON: {name}=\'["one", "two"]\'')
    return value


def _merge(one: Tables, other: Tables) -> Tables:
    return {section: {**one.get(section, {}), **other.get(section, {})} for section in {*one, *other}}


def _usage() -> str:
    return USAGE.format(own=", ".join(f"{name}=" for name in Extent.model_fields))
