"""The variables that begin with COSYSERVE_: settings, the client's, an orchestrator's, and mistakes."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cosyserve.settings.names import ENV_PREFIX, is_list, keys, shown, unknown_variable

CLIENTS_URL, CLIENTS_KEY = "COSYSERVE_URL", "COSYSERVE_API_KEY"
"""What `cosyserve say` reads."""

# Kubernetes tells containers of each Service so; one of our name, or one that begins with it, looks like ours.
_OF_A_SERVICE = re.compile(
    r"COSYSERVE(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_PORT_OF_A_SERVICE = re.compile(r"COSYSERVE(_[A-Z0-9_]+)?_PORT")
_ADDRESS_OF_A_SERVICE = re.compile(r"(tcp|udp|sctp)://")


@dataclass
class Environment:
    """What was read. tables: values by section and key. variables: where each is from. problems: a line each."""

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    variables: dict[tuple[str, str], str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Sort the variables out. Case does not count in the names of settings."""
    read = Environment()
    for name, text in environ.items():
        if not name.upper().startswith(ENV_PREFIX) or _is_others(name, text):
            continue
        section, _, key = name[len(ENV_PREFIX) :].lower().partition("__")
        if key not in keys(section):
            read.problems.append(f"{shown(name)} {unknown_variable(name)}")
            continue
        try:
            value = json.loads(text) if is_list(section, key) else text
        except (ValueError, RecursionError):
            value = None
        if is_list(section, key) and not isinstance(value, list):
            read.problems.append(f'{name} is a list, written as JSON: {name}=\'["one", "two"]\'')
            continue
        read.tables.setdefault(section, {})[key] = value
        read.variables[section, key] = name
    return read


def notes(environ: Mapping[str, str]) -> Iterable[str]:
    """What an operator may have meant for the server, and is the client's: a line each."""
    theirs = {CLIENTS_URL: "server.host and server.port", CLIENTS_KEY: "server.api_keys"}
    for name, ours in theirs.items():
        if environ.get(name):
            yield f"{name} is read by the client alone (`cosyserve say`); the server's setting is {ours}"


def _is_others(name: str, text: str) -> bool:
    if name in {CLIENTS_URL, CLIENTS_KEY} or _OF_A_SERVICE.fullmatch(name):
        return True
    return bool(_PORT_OF_A_SERVICE.fullmatch(name) and _ADDRESS_OF_A_SERVICE.match(text))
