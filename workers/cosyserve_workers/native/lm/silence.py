"""Pauses that go on too long: of CosyVoice3's tokens of silence, upstream speaks five in a row and drops the others."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

SILENT = frozenset({1, 2, 28, 29, 55, 248, 494, 2241, 2242, 2322, 2323})
"""Ids of CosyVoice3's that sound like nothing. (Upstream names none of CosyVoice2's.)"""
MOST_IN_A_ROW = 5


@dataclass(slots=True)
class Silence:
    """One segment's. The language model itself hears all its tokens; the flow those that are kept.

    silent: the tokens that sound like nothing.
    """

    silent: AbstractSet[int] = SILENT
    in_a_row: int = 0

    def keeps(self, token: int) -> bool:
        """Whether a token, the next of the stream, is spoken."""
        self.in_a_row = self.in_a_row + 1 if token in self.silent else 0
        return self.in_a_row <= MOST_IN_A_ROW
