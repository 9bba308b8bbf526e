"""What stands around a match, on the same line: a few characters of it."""

import re

_REACH = 24


def before(match: re.Match[str]) -> str:
    """The characters in front of a match."""
    return match.string[max(0, match.start() - _REACH) : match.start()]


def after(match: re.Match[str]) -> str:
    """The characters behind a match."""
    return match.string[match.end() : match.end() + _REACH]
