"""What is to be asked: stages, each with its requests, its clients and its share of the time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cosyserve.client.measure import texts

COLD, WARM, LENGTHS = "cold", "warm", "random lengths"
KNOWN, NEW = "known", "new"
CLIENTS = (1, 2, 4, 10, 16)
WARM_REQUESTS, LENGTHS_REQUESTS = 20, 100
AT_LEAST, EACH = 12, 4
"""Requests of a stage with so many clients: EACH of every client, and no fewer than AT_LEAST."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. recording: which of the new voices speaks; None is the known one."""

    text: str
    seed: int
    recording: int | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Requests that so many clients make, each its next one when it has heard the last.

    weight: of its time. level: whether it is one of those that differ in their number of clients.
    """

    name: str
    clients: int
    voice: str
    asks: Sequence[Ask] = field(repr=False)
    weight: float = 1.0
    level: bool = False


def plan(clients: Iterable[int] = CLIENTS, *, cold: int) -> list[Stage]:
    """Every stage, in order. cold: workers that nobody has asked anything yet."""
    counts = sorted(set(clients))
    stages = [_cold(cold)] if cold else []
    stages += [_warm(), _lengths()]
    stages += [_level(count, KNOWN) for count in counts]
    # A voice that was heard in one stage would be known in the next.
    used = 0
    for count in counts:
        stages.append(_level(count, NEW, used))
        used += len(stages[-1].asks)
    return stages


def recordings(stages: Iterable[Stage]) -> int:
    """How many new voices they need."""
    return sum(ask.recording is not None for stage in stages for ask in stage.asks)


def share(remaining_s: float, stages: Sequence[Stage]) -> float:
    """Seconds for the first of these stages. What one leaves over is there for those after it."""
    return remaining_s * stages[0].weight / sum(stage.weight for stage in stages)


def _cold(workers: int) -> Stage:
    asks = [Ask(texts.WARM, seed) for seed in range(workers)]
    return Stage(COLD, workers, KNOWN, asks)


def _warm() -> Stage:
    return Stage(WARM, 1, KNOWN, [Ask(texts.WARM, seed) for seed in range(WARM_REQUESTS)])


def _lengths() -> Stage:
    said = texts.random_lengths(LENGTHS_REQUESTS, seed=1)
    return Stage(LENGTHS, 1, KNOWN, [Ask(text, seed) for seed, text in enumerate(said)], weight=3)


def _level(clients: int, voice: str, used: int = 0) -> Stage:
    """The same texts for known and for new voices, and for whatever other numbers of clients there are."""
    said = texts.random_lengths(max(AT_LEAST, EACH * clients), seed=1 + clients)
    new = voice == NEW
    asks = [Ask(text, seed, used + seed if new else None) for seed, text in enumerate(said)]
    return Stage(f"{clients} client{'s'[: clients != 1]}, {voice} voice{'s'[:new]}", clients, voice, asks, level=True)
