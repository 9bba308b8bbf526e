"""The end of the process where its own does not come: nothing that hangs may keep a service that was told to go."""

import os
import threading
import time
from collections.abc import Callable


class LastResort:
    """A thread that is there from the start, since there may be none to have when it is needed.

    last_act: called before the process ends at once, with status 1.
    """

    def __init__(self, last_act: Callable[[], None]) -> None:
        self._last_act = last_act
        self._patience_s = 0.0
        self._armed = threading.Event()
        threading.Thread(target=self._wait, name="last-resort", daemon=True).start()

    def arm(self, patience_s: float) -> None:
        """From now on the process has so long to end."""
        self._patience_s = patience_s
        self._armed.set()

    def _wait(self) -> None:
        self._armed.wait()
        time.sleep(self._patience_s)
        self._last_act()
        os._exit(1)
