"""What the service needs of a pool, whatever runs the models behind it."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from cosyserve.pool.status import PoolState, WorkerStatus
from cosyserve.pool.streams import AudioStream
from cosyserve.protocol import Trace
from cosyserve.settings.sections import Settings
from cosyserve.speech.requests import SpeechRequest


class Ticket(Protocol):
    """What is known of an admitted request, more of it as it goes on."""

    @property
    def id(self) -> int:
        """Its number, for the log."""

    @property
    def seed(self) -> int:
        """The request's own, else the one drawn for it at its admission."""

    @property
    def queue_wait_s(self) -> float:
        """Seconds in line so far, until a worker had it."""

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds by stage, as the engine names them; empty until it is done."""


class Admitted(NamedTuple):
    """A request that has a place."""

    ticket: Ticket
    stream: AudioStream


class SpeechPool(Protocol):
    """Takes requests for speech and streams their audio. Everything happens on one event loop."""

    stopping: asyncio.Event
    """Set when no new requests are taken any more."""

    @property
    def health(self) -> str:
        """`ok`, `starting`, `unavailable` or `stopping`."""

    @property
    def model_type(self) -> str | None:
        """What the workers serve; None before one was ready."""

    @property
    def sample_rate(self) -> int | None:
        """Hz of the model's audio; None before a worker was ready."""

    @property
    def has_room(self) -> bool:
        """Whether one more request would run at once."""

    @property
    def state(self) -> PoolState:
        """How it is now."""

    def statuses(self) -> list[WorkerStatus]:
        """One entry a worker."""

    def start(self) -> None:
        """Bring the workers up; returns before they are ready."""

    def submit(self, request: SpeechRequest, trace: Trace | None = None) -> Admitted:
        """Admit a request. Its stream must be closed in the end. Raises Unavailable.

        trace: passed on to whoever speaks it.
        """

    async def hand_over(self, settings: Settings) -> str:
        """Have workers as these settings want them. Returns how, in words: "" where they need not change.

        Raises SettingsError, ExchangeFailed: the service then has the workers that it had. One at a time.
        """

    def adjust(self, settings: Settings) -> None:
        """Go by these settings from now on, after `hand_over`: the next generation. Does not fail."""

    def stop(self) -> None:
        """Take no new requests."""

    async def drained(self) -> None:
        """Wait until every admitted request has been answered to its end."""

    async def close(self) -> None:
        """Send every worker home."""

    def kill(self) -> None:
        """End whatever runs, now."""
