"""Decoded prompts of stored voices, held in memory within bounds."""

import threading
from collections import OrderedDict

from cosyserve.protocol import Prompt


class PromptCache:
    """Decoded prompts by the hash of their files, the ones used longest ago dropped first. Safe in threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._prompts: OrderedDict[str, Prompt] = OrderedDict()
        self._held_bytes = 0

    def set_limit(self, limit_bytes: int) -> None:
        """So much from the next prompt on."""
        self._limit_bytes = limit_bytes

    @property
    def held_bytes(self) -> int:
        """What the samples take."""
        return self._held_bytes

    def get(self, digest: str) -> Prompt | None:
        """The prompt, where it is held."""
        with self._lock:
            if digest in self._prompts:
                self._prompts.move_to_end(digest)
            return self._prompts.get(digest)

    def put(self, digest: str, prompt: Prompt) -> None:
        """Hold it, and drop others for it."""
        with self._lock:
            if digest in self._prompts:
                return
            self._prompts[digest] = prompt
            self._held_bytes += prompt.samples.nbytes
            while self._held_bytes > self._limit_bytes:
                _, dropped = self._prompts.popitem(last=False)
                self._held_bytes -= dropped.samples.nbytes
