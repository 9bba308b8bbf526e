"""What one side of a comparison is asked to speak, and what was heard of it: shared by the sides and the comparison."""

from dataclasses import asdict, dataclass, field
from typing import Any

SAMPLE_RATE = 24_000
TOKENS_PER_S = 25


@dataclass(frozen=True)
class Take:
    """Requests that begin together, all with one voice that was seen before, each one segment of so many tokens.

    prompt: speech tokens of the voice's prompt. tokens: forced on the language model. at_once: how many requests.
    """

    prompt: int
    tokens: int
    at_once: int = 1

    @property
    def audio_s(self) -> float:
        """Seconds of sound that all of it makes."""
        return self.at_once * self.tokens / TOKENS_PER_S


@dataclass(frozen=True)
class Stream:
    """One request's sound. chunks: (seconds from the start to its arrival, samples)."""

    chunks: list[tuple[float, int]]

    @property
    def first_s(self) -> float:
        """When the first sound came."""
        return self.chunks[0][0]

    @property
    def underruns(self) -> int:
        """How many chunks came later than the sound before them lasted; a listener that ran dry goes on at once."""
        late = 0
        lasts_until = self.first_s
        for arrival, samples in self.chunks:
            late += arrival > lasts_until
            lasts_until = max(lasts_until, arrival) + samples / SAMPLE_RATE
        return late


@dataclass(frozen=True)
class Heard:
    """What became of a take. wall_s: to the last sample of the last stream. cpu_s: of the whole process meanwhile."""

    streams: list[Stream]
    wall_s: float
    cpu_s: float

    @property
    def underruns(self) -> int:
        """Of all streams together."""
        return sum(stream.underruns for stream in self.streams)


@dataclass(frozen=True)
class Session:
    """One process of one side. peak_bytes: the most memory that was resident. details: what the engine says it runs."""

    heard: list[Heard]
    peak_bytes: int
    details: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For the pipe between the processes."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Session":
        """What `as_json` gave."""
        heard = [
            Heard(
                [Stream([(when, size) for when, size in stream["chunks"]]) for stream in take["streams"]],
                take["wall_s"],
                take["cpu_s"],
            )
            for take in record["heard"]
        ]
        return cls(heard, record["peak_bytes"], record["details"])
