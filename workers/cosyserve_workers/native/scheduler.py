"""Who goes next: a state machine that knows counts and due times, and no model, tensor, thread or clock.

A stream is a request. Its text comes as segments; each is prefilled, decoded token by token until it ends, and solved
(flow and vocoder) chunk by chunk, while the next segment may be decoded already. One turn runs at a time:

- **The stream whose sound is due first leads.** Before its first sound a stream is due since it came; after that, when
  its listener runs out of sound. So first chunks go in the order of arrival and before follow-ups, unless a listener
  ran dry before the newcomer came. What is due stays due until it is done, so no stream starves.
- **What the leader needs is done for others in the same turn, where that costs little**: a decode step takes everyone
  who is being decoded, a solve up to `solve_width` of those with a chunk to make, most urgent first. Two chunks in a
  solve cost less than two solves, so a chunk waits for `COMPANY_TOKENS` decode steps at most where others will have
  one by then: steps that they need anyway. It does not where newcomers would be prefilled in between.
- **Newcomers are prefilled at once**, because from then on they share the decode steps; but every other turn goes to
  the leader, and a turn prefills `prefill_rows` rows at most, so that a long prompt holds nobody up. A leader who needs
  more decode steps than there are such turns lets them all go first: it comes to its chunk no later, and the newcomers
  miss none of its steps.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cosyserve_workers.native.flow.sizes import CHUNK_TOKENS, LOOKAHEAD_TOKENS

FIRST_CHUNK_TOKENS = 10
"""A first chunk of less is joined to the next: 40 ms of sound and then a wait is a stutter."""
HOPS = (25, 50, 100)
"""Tokens in a chunk of a stream that carries no state: it solves everything again each time, so chunks grow."""
COMPANY_TOKENS = 5
"""So many steps a stream that could be solved waits for others at most."""
RUN_AHEAD_TOKENS = 250
"""So far ahead of its sound a stream still joins the decode steps of others."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """Put the next `rows` rows of each stream's segment into the language model."""

    pieces: tuple[tuple[int, int], ...]
    """(stream, rows)."""


@dataclass(frozen=True, slots=True)
class Decode:
    """Draw a token for each of these."""

    streams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Solve:
    """Make the next chunk of sound for each of these."""

    streams: tuple[int, ...]


Turn = Prefill | Decode | Solve


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a solve made of one segment."""

    tokens: int
    """How many of the segment's are solved by now."""
    sound_s: float
    """Seconds of sound that left."""
    last: bool
    """Whether the segment is heard to its end."""
    carried: bool
    """Whether state is carried on, so that the next chunk need not begin anew."""


@dataclass(slots=True, eq=False)
class _Segment:
    """prompt: speech tokens of the voice's prompt. rows_left: input not yet prefilled. known, solved: speech tokens."""

    prompt: int
    rows_left: int
    known: int = 0
    solved: int = 0
    ended: bool = False

    def tokens_wanted(self, hop: int) -> int:
        """How many tokens must be known until a chunk can be solved that has sound of `hop` tokens or more."""
        chunks = -(-(self.prompt + self.solved + hop) // CHUNK_TOKENS)
        return chunks * CHUNK_TOKENS + LOOKAHEAD_TOKENS - self.prompt


@dataclass(slots=True, eq=False)
class _Stream:
    """One request.

    due: seconds on the caller's clock. hops: how many chunks it has solved without carried state. waited: how many
    decode steps its next chunk has waited for others.
    """

    key: int
    due: float
    sounding: bool = False
    hops: int = 0
    waited: int = 0
    segments: deque[_Segment] = field(default_factory=deque)

    @property
    def spoken(self) -> _Segment | None:
        """The segment in the language model."""
        return next((segment for segment in self.segments if not segment.ended), None)

    @property
    def fresh(self) -> bool:
        """Whether it waits for the prefill that brings its first token."""
        return not self.sounding and bool(self.segments) and self.segments[0].rows_left > 0

    @property
    def decodes(self) -> bool:
        spoken = self.spoken
        return spoken is not None and spoken.rows_left == 0

    @property
    def solvable(self) -> bool:
        """Whether there is a chunk to make, of the segment that is heard next."""
        return bool(self.segments) and (self.segments[0].ended or self.steps_away <= 0)

    @property
    def steps_away(self) -> int:
        """After how many decode steps there is a chunk to make, unless the segment ends before."""
        segment = self.segments[0]
        return segment.tokens_wanted(self._hop(segment)) - segment.known

    def _hop(self, segment: _Segment) -> int:
        if self.hops:
            return HOPS[min(self.hops, len(HOPS) - 1)]
        return 1 if segment.solved else FIRST_CHUNK_TOKENS

    @property
    def ahead(self) -> int:
        """Tokens that are known and not solved."""
        return sum(segment.known - segment.solved for segment in self.segments)


class Scheduler:
    """Tell it what came and what was done; ask it for the `next` turn.

    solve_width: how many streams share a solve. prefill_rows: how many rows a prefill has at most.
    """

    def __init__(self, solve_width: int, prefill_rows: int) -> None:
        self._solve_width = solve_width
        self._prefill_rows = prefill_rows
        self._streams: dict[int, _Stream] = {}
        self._leaders_turn = False

    def join(self, stream: int, now: float) -> None:
        """A request came."""
        self._streams[stream] = _Stream(stream, due=now)

    def say(self, stream: int, prompt_tokens: int, rows: int) -> None:
        """Another segment of its text. rows: length of the language model's input."""
        self._streams[stream].segments.append(_Segment(prompt_tokens, rows))

    def leave(self, stream: int) -> None:
        """It is done, or cancelled: whatever it had, it is gone."""
        del self._streams[stream]

    def idle(self, stream: int) -> bool:
        """Tell whether all that it was to say is said."""
        return not self._streams[stream].segments

    def prefilled(self, stream: int, rows: int) -> bool:
        """Rows were put in. Returns whether the segment's input is complete, and a token comes with it."""
        segment = self._in_the_model(stream)
        segment.rows_left -= rows
        return segment.rows_left == 0

    def drawn(self, stream: int, *, token: bool, ended: bool) -> None:
        """A step was made for it. token: whether it gave a speech token. ended: whether the segment's speech ends."""
        segment = self._in_the_model(stream)
        segment.known += token
        segment.ended = ended

    def solved(self, stream: int, chunk: Chunk, now: float) -> None:
        """A chunk was made for it."""
        entry = self._streams[stream]
        entry.segments[0].solved = chunk.tokens
        entry.waited = 0
        entry.hops = 0 if chunk.carried or chunk.last else entry.hops + 1
        if chunk.last:
            entry.segments.popleft()
        if chunk.sound_s:
            # A listener that ran dry goes on listening from now.
            entry.due = max(entry.due, now) + chunk.sound_s
            entry.sounding = True

    def next(self) -> Turn | None:
        """Return what to do now; None where there is nothing to do until more text comes."""
        by_due = sorted(self._streams.values(), key=lambda entry: entry.due)
        fresh = [entry for entry in by_due if entry.fresh]
        if fresh and not (self._leaders_turn and self._sooner_than_prefilled(by_due[0], fresh)):
            self._leaders_turn = True
            return self._prefill(fresh)
        self._leaders_turn = False
        riders = [entry for entry in by_due if entry.decodes and entry.ahead < RUN_AHEAD_TOKENS]
        for leader in by_due:
            if leader.solvable:
                ready = [entry for entry in by_due if entry.solvable][: self._solve_width]
                if fresh or not self._company_comes(leader, len(ready), riders):
                    return Solve(tuple(entry.key for entry in ready))
                leader.waited += 1
                return Decode(tuple(entry.key for entry in riders))
            if leader.decodes:
                return Decode(tuple(entry.key for entry in riders))
            if leader.spoken is not None:
                return self._prefill([entry for entry in by_due if entry.spoken and not entry.decodes])
        return None

    def _sooner_than_prefilled(self, leader: _Stream, fresh: Sequence[_Stream]) -> bool:
        """Whether the leader comes to its chunk in no more decode steps than the newcomers take turns of prefill."""
        if leader.solvable or not leader.decodes or leader.segments[0].ended:
            return True
        rows = sum(entry.segments[0].rows_left for entry in fresh)
        return leader.steps_away <= -(-rows // self._prefill_rows)

    def _company_comes(self, leader: _Stream, ready: int, riders: Iterable[_Stream]) -> bool:
        """Whether the leader's chunk should wait a step for one of the riders. Each step brings it nearer."""
        patience = COMPANY_TOKENS - leader.waited
        return ready < self._solve_width and any(
            not entry.segments[0].ended and 0 < entry.steps_away <= patience for entry in riders
        )

    def _in_the_model(self, stream: int) -> _Segment:
        segment = self._streams[stream].spoken
        assert segment is not None
        return segment

    def _prefill(self, entries: Iterable[_Stream]) -> Prefill:
        pieces = []
        room = self._prefill_rows
        for entry in entries:
            segment = entry.spoken
            if segment is None or room == 0:
                break
            rows = min(segment.rows_left, room)
            pieces.append((entry.key, rows))
            room -= rows
        return Prefill(tuple(pieces))
