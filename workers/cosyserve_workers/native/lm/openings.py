"""What the language model remembers of words that many requests begin with: a voice's transcript, an instruction.

They come before the text, and a position depends on none after it; so what it remembers of them is the same whatever
follows.
"""

from collections import OrderedDict
from collections.abc import Sequence

from cosyserve_workers.native.lm.attention import KeysAndValues

OPENINGS_BUDGET = 32 * 2**20
"""Bytes: of the published model some 80 transcripts of a few seconds, in float32."""


class Openings:
    """Those used last, within a budget."""

    def __init__(self, budget: int = OPENINGS_BUDGET) -> None:
        self._budget = budget
        self._kept: OrderedDict[tuple[int, ...], KeysAndValues] = OrderedDict()

    def find(self, words: Sequence[int]) -> KeysAndValues | None:
        """What is remembered of these ids and the mark before them, if it is kept."""
        found = self._kept.get(tuple(words))
        if found is not None:
            self._kept.move_to_end(tuple(words))
        return found

    def keep(self, words: Sequence[int], remembered: KeysAndValues) -> None:
        """Keep it for the next who begins with these ids."""
        self._kept[tuple(words)] = remembered
        while sum(kept.nbytes for kept in self._kept.values()) > self._budget:
            self._kept.popitem(last=False)
