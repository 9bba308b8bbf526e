"""An engine that speaks one chunk, whatever it is told: texts here are made up, and no script may be among them."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from cosyserve.protocol import Synthesize
from tests import sounds
from tests.engines import Scripted


class Brief(Scripted):
    """0.1 s of a tone."""

    def stream(self, request: Synthesize, cancelled: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        yield sounds.sine(0.1, self.sample_rate)


create = Brief
