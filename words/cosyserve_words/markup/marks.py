"""What the author says to the service itself: `[pause:1.5s]`, and the model's own marks."""

import re
from collections.abc import Callable

from cosyserve_words.spans import KEPT, PAUSE, Options
from cosyserve_words.surface import Atom, Builder

Kind = tuple[str, str, Callable[[re.Match[str], Builder, Options], bool]]
"""A name, a pattern with no groups that are not named, and who handles what it finds."""

MOST_PAUSE_S = 60.0
_PAUSE = r"\[pause:[ ]*(?P<pause_time>\d{1,5}(?:\.\d{1,3})?)[ ]*(?P<pause_unit>ms|s)?[ ]*\]"


def kinds(kept: frozenset[str]) -> list[Kind]:
    """What is looked for in every text."""
    found: list[Kind] = [("pause", _PAUSE, _pause)]
    if kept:
        found.append(("kept", "|".join(map(re.escape, sorted(kept))), _kept))
    return found


def seconds(number: str, unit: str | None) -> float:
    """A time in seconds, not longer than `MOST_PAUSE_S`."""
    return min(float(number) / (1000 if unit == "ms" else 1), MOST_PAUSE_S)


def _pause(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del options
    pause_s = seconds(found["pause_time"], found["pause_unit"])
    builder.put_atom(Atom(PAUSE, "", pause_s), found.start(), found.end())
    return True


def _kept(found: re.Match[str], builder: Builder, options: Options) -> bool:
    del options
    builder.put_atom(Atom(KEPT, found[0]), found.start(), found.end())
    return True
