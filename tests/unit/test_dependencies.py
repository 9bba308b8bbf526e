"""What we stand on: no floor in pyproject.toml admits a version with a published fault, and none is installed."""

import re
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.serving import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOUND = {
    "h11": ("0.16.0", "CVE-2025-43859: chunked bodies that proxies read otherwise"),
    "h2": ("4.3.0", "CVE-2025-57804: a request split by its headers"),
    "hypercorn": ("0.16.0", "SNYK-PYTHON-HYPERCORN-6371005: HTTP/2 without a bound"),
    "python-multipart": (
        "0.0.27",
        "CVE-2026-42561: heads of parts without a bound; CVE-2026-40347, CVE-2026-24486 before",
    ),
    "requests": ("2.32.4", "CVE-2024-47081: .netrc's passwords for another host"),
    "starlette": ("1.3.1", "limits of forms that were not kept; CVE-2026-48710, CVE-2025-62727, CVE-2025-54121 before"),
}
"""The first version without a known fault, and what its neighbour below had."""
DEPENDENCIES = [Requirement(line) for line in PYPROJECT["dependencies"]]
EXTRAS = [Requirement(line) for lines in PYPROJECT["optional-dependencies"].values() for line in lines]


def sound(name: str) -> Version:
    """The first version without a known fault."""
    return Version(SOUND[name][0])


def floor(line: Requirement) -> Version:
    """The oldest version that it admits."""
    return max(Version(one.version) for one in line.specifier if one.operator in {">=", "==", "~="})


def named(name: str) -> list[Requirement]:
    """Every line that names it."""
    return [line for line in [*DEPENDENCIES, *EXTRAS] if canonicalize_name(line.name) == name]


@pytest.mark.parametrize("name", SOUND)
def test_no_floor_admits_a_faulty_version(name: str) -> None:
    lines = named(name)
    assert lines, f"{name} is not named: a fault of it would come with what needs it"
    for line in lines:
        assert floor(line) >= sound(name), f"{line} admits what {sound(name)} mended: {SOUND[name][1]}"


@pytest.mark.parametrize("line", DEPENDENCIES, ids=str)
def test_every_dependency_has_a_floor_and_a_ceiling(line: Requirement) -> None:
    assert {specifier.operator for specifier in line.specifier} == {">=", "<"}


@pytest.mark.full
@pytest.mark.parametrize("name", SOUND)
def test_what_is_installed_is_sound(name: str) -> None:
    assert Version(metadata.version(name)) >= sound(name), SOUND[name][1]


@pytest.mark.full
def test_what_is_installed_is_what_is_asked_for() -> None:
    """Of us and of all that we bring along."""
    wrong = [
        f"{needed} (for {name}): {installed}"
        for name in sorted(brought())
        for needed in needs(name)
        if (installed := version_of(needed.name)) and not needed.specifier.contains(installed, prereleases=True)
    ]
    assert not wrong


def needs(name: str) -> list[Requirement]:
    """What a distribution needs here, without its extras."""
    lines = [Requirement(line) for line in metadata.requires(name) or ()]
    return [line for line in lines if line.marker is None or line.marker.evaluate({"extra": ""})]


def version_of(name: str) -> str | None:
    """What is installed of it, if anything."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def brought() -> set[str]:
    """Every installed distribution that our dependencies need, themselves among them."""
    known: set[str] = set()
    waiting = [canonicalize_name(line.name) for line in DEPENDENCIES]
    while waiting:
        name = waiting.pop()
        if name not in known and version_of(name):
            known.add(name)
            waiting += [canonicalize_name(line.name) for line in needs(name)]
    return known


def test_the_table_says_which_advisory() -> None:
    assert all(re.search(r"(CVE-\d{4}-\d+|GHSA-[\w-]+|SNYK-[\w-]+)", why) for _, why in SOUND.values())
