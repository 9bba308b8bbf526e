"""Which packages cosyserve asks for and which are installed: looked up by name, none is imported."""

import re
from importlib import metadata
from importlib.util import find_spec

# Where the module's name does not follow from the distribution's, and other distributions bring the same module.
MODULE_OF = {"onnxruntime-gpu": "onnxruntime", "openai-whisper": "whisper", "hydra-core": "hydra"}

# A requirement with no condition, or with no other condition than its extra.
REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+)[^;]*(?:;\s*extra\s*==\s*['"](?P<extra>[\w.-]+)['"]\s*)?""")


def requirements() -> dict[str, list[str]]:
    """Extra (the front end: "") -> distributions, as the installed package lists them; empty if it is not installed."""
    listed: dict[str, list[str]] = {}
    try:
        lines = metadata.requires("cosyserve") or []
    except metadata.PackageNotFoundError:
        return {}
    for line in lines:
        # One with further conditions (a platform, a Python version) may rightly be absent: pip knows.
        if match := REQUIREMENT.fullmatch(line):
            listed.setdefault(match["extra"] or "", []).append(match["name"])
    return listed


def installed(distribution: str) -> str:
    """Its version; empty if it is missing."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        module = MODULE_OF.get(distribution, distribution.replace("-", "_").lower())
        return "version unknown" if importable(module) else ""


def importable(module: str) -> bool:
    """Whether it would be found."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
