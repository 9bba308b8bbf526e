"""The service that is measured: its address, its key, and connections to it."""

from dataclasses import dataclass, field

import httpx

from cosyserve.client.order import SayError, authorization, endpoint
from cosyserve.client.transfer import LOOPBACK

TIMEOUT = httpx.Timeout(30, read=None)
"""The end of the time ends a request that gets no answer; until then it is the service's to give up."""
ASKING = httpx.Timeout(10)
"""For /health, /metrics and /model_info."""


class MeasureError(SayError):
    """Nothing can be measured; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where it is. base: as an operator would write it. shown: the same without a password."""

    base: str = field(repr=False)
    speech: httpx.URL
    shown: str
    headers: dict[str, str] = field(repr=False)

    @classmethod
    def at(cls, base: str, key: str | None) -> "Target":
        """Raises UsageError where one of the two cannot be."""
        speech = endpoint(base)
        shown = str(speech.copy_with(userinfo=b"", path=""))
        return cls(base.rstrip("/"), speech, shown, authorization(key))

    def open(self, timeout: httpx.Timeout = TIMEOUT) -> httpx.AsyncClient:
        """A client's connection of its own, kept from one request to the next."""
        # A proxy meant for the wide world cannot reach this machine's own server.
        trust_env = self.speech.host not in LOOPBACK
        return httpx.AsyncClient(timeout=timeout, headers=self.headers, trust_env=trust_env)
