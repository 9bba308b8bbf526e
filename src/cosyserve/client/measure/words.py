"""Figures as a reader wants them."""

from collections.abc import Mapping
from typing import Any

NONE = "–"


def seconds(value: float | None) -> str:
    """Milliseconds below a second."""
    if value is None:
        return NONE
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def size(value: int | None) -> str:
    """MiB, or GiB from one on."""
    if not value:
        return NONE
    mib = value / 2**20
    return f"{mib:.0f} MiB" if mib < 1024 else f"{mib / 1024:.2f} GiB"


def percent(value: float | None) -> str:
    """Whole ones."""
    return NONE if value is None else f"{value:.0%}"


def number(value: float) -> str:
    """Four digits, or all of a whole number."""
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def ratio(a: float | None, b: float | None) -> str:
    """The second by the first."""
    return f"{b / a:.2f}" if a and b is not None else NONE


def tally(codes: Mapping[str, int]) -> str:
    """Codes with their counts."""
    return ", ".join(f"{count} {code}" for code, count in codes.items())


def flat(value: Any, name: str = "") -> dict[str, str]:
    """What /model_info nests, by dotted names."""
    if isinstance(value, Mapping):
        inside = [flat(one, f"{name}.{key}" if name else str(key)) for key, one in value.items()]
        return {key: told for part in inside for key, told in part.items()}
    if isinstance(value, list):
        return {name: ", ".join(map(str, value))}
    return {name: "" if value is None else str(value)}
