"""What clients hand in, counted before anything is done with it: one budget for all, and a share of it for each key.

Bodies, decoded prompts, texts that wait to be spoken, messages of WebSockets: whoever is about to hold such bytes takes
them from the budget first, and gives them back when they are gone.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cosyserve.errors import ListenerGone, PendingFull, TooMuchPending, UploadTooLarge

BYTES_PER_CHAR = 4
"""The most that a character takes in memory, and in UTF-8."""


class IntakeBudget:
    """One a service; safe in threads. per_key_bytes: what the requests and sessions of one key may hold together."""

    def __init__(self, limit_bytes: int, per_key_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._per_key_bytes = limit_bytes if per_key_bytes is None else min(per_key_bytes, limit_bytes)
        self._lock = threading.Lock()
        self._held: Counter[str | None] = Counter()
        self._held_bytes = 0

    def set_limits(self, limit_bytes: int, per_key_bytes: int) -> None:
        """So much from now on; what is held stays."""
        self.limit_bytes, self._per_key_bytes = limit_bytes, min(per_key_bytes, limit_bytes)

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._held_bytes

    @contextmanager
    def intake(self, key: str | None = None) -> Iterator["Intake"]:
        """Of one request or session. All that it holds is given back at the end, whatever the end is."""
        intake = Intake(self, key)
        try:
            yield intake
        finally:
            intake.close()

    def change(self, key: str | None, held: int, size: int) -> None:
        """An intake that holds so much would hold `size` more; less where that is negative, which is never refused."""
        with self._lock:
            if size > 0:
                self._check(key, held, size)
            self._held_bytes += size
            self._held[key] += size
            if not self._held[key]:
                del self._held[key]

    def _check(self, key: str | None, held: int, size: int) -> None:
        """Raises what `Intake.take` does."""
        share = self.limit_bytes if key is None else self._per_key_bytes
        if held + size > share:
            raise UploadTooLarge(f"this needs {held + size} bytes by itself: {_limit(share, self.limit_bytes)}")
        if key is not None and self._held[key] + size > share:
            raise TooMuchPending(f"the requests of this API key hold too much: {_limit(share, self.limit_bytes)}")
        if self._held_bytes + size > self.limit_bytes:
            raise PendingFull(
                "the service holds as much as it may of what clients sent (limits.max_pending_bytes); try again shortly"
            )


class Intake:
    """What one request or session holds of the budget; safe in threads, where nobody settles and takes at once."""

    def __init__(self, budget: IntakeBudget, key: str | None) -> None:
        self._budget = budget
        self._key = key
        self._held_bytes = 0
        self._closed = False

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> "Intake":
        """That of an ASGI scope, where the service has put it."""
        intake: Intake = scope["state"]["intake"]
        return intake

    @property
    def held_bytes(self) -> int:
        """What it holds now."""
        return self._held_bytes

    def take(self, size: int) -> None:
        """Hold `size` bytes more, before they are there.

        Raises UploadTooLarge where they could never fit, TooMuchPending where others of the same key hold too much,
        PendingFull where all others together do.
        """
        if self._closed:
            raise ListenerGone("the request is over")
        self._budget.change(self._key, self._held_bytes, size)
        self._held_bytes += size

    def settle(self, size: int) -> None:
        """Hold `size` bytes from now on. Raises what `take` does where that is more than before."""
        self.take(size - self._held_bytes)

    def close(self) -> None:
        """Give all back. Safe to call again."""
        self._closed = True
        self._budget.change(self._key, self._held_bytes, -self._held_bytes)
        self._held_bytes = 0


def _limit(share: int, whole: int) -> str:
    name = "limits.max_pending_bytes" if share == whole else "limits.max_pending_bytes_per_key"
    return f"the limit is {share} ({name})"
