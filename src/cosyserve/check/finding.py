"""What an inspection finds: a line, and the line below it that says what to do."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The word in front of a line of the report."""

    OK = "ok"
    MISSING = "missing"
    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report, and the line below it: what to do."""

    state: State
    text: str
    remedy: str = ""

    @property
    def stops(self) -> bool:
        """Whether an engine cannot start with this."""
        return self.state in (State.MISSING, State.PROBLEM)
