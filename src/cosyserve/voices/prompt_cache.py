"""Prompts, or what stands for them, held within bounds."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class PromptCache(Generic[T]):
    """Prompts by a digest, the ones used longest ago dropped first. Safe in threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._prompts: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._held_bytes = 0

    def set_limit(self, limit_bytes: int) -> None:
        """So much from the next prompt on."""
        self._limit_bytes = limit_bytes

    @property
    def held_bytes(self) -> int:
        """What the samples take."""
        return self._held_bytes

    def get(self, digest: str) -> T | None:
        """What was put there, where it is held."""
        with self._lock:
            if digest not in self._prompts:
                return None
            self._prompts.move_to_end(digest)
            return self._prompts[digest][0]

    def put(self, digest: str, prompt: T, samples_bytes: int) -> None:
        """Hold it, and drop others for it. samples_bytes: what it, or what it stands for, takes."""
        with self._lock:
            if digest in self._prompts:
                return
            self._prompts[digest] = prompt, samples_bytes
            self._held_bytes += samples_bytes
            while self._held_bytes > self._limit_bytes:
                _, (_, dropped_bytes) = self._prompts.popitem(last=False)
                self._held_bytes -= dropped_bytes
