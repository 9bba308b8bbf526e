"""Who goes next: a state machine that knows counts and due times, and no model, tensor, thread or clock.

A stream is a request. Its text comes as segments; each is prefilled, decoded token by token until it ends, and solved
(flow and vocoder) chunk by chunk, while the next segment may be decoded already. One turn runs at a time (`next`):

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

Or two at a time, where a GPU has room for both: solves on a track of their own (`next_solve`), and what brings tokens
beside them (`next_step`). The same holds then of each, but that a stream is decoded as far as to its next chunk while
one is made, whoever leads.
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

    def solve_what_is_known(self) -> None:
        """Take for solved what a solve that begins now can make of it."""
        whole = (self.prompt + self.known - LOOKAHEAD_TOKENS) // CHUNK_TOKENS * CHUNK_TOKENS - self.prompt
        self.solved = self.known if self.ended else max(whole, self.solved)


@dataclass(slots=True, eq=False)
class _Stream:
    """One request.

    due: seconds on the caller's clock. hops: how many chunks it has solved without carried state. waited: how many
    decode steps its next chunk has waited for others. solving: whether a chunk is being made.
    """

    key: int
    due: float
    sounding: bool = False
    hops: int = 0
    waited: int = 0
    solving: bool = False
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
        return bool(self.segments) and not self.solving and (self.segments[0].ended or self.steps_away <= 0)

    @property
    def wants_tokens(self) -> bool:
        """Whether there is no chunk to make yet, or none after the one that is being made."""
        spoken = self.spoken
        if spoken is None:
            return False
        if spoken is self.segments[0]:
            return self.steps_away > 0
        return spoken.known < spoken.tokens_wanted(FIRST_CHUNK_TOKENS)

    @property
    def steps_away(self) -> int:
        """After how many decode steps there is a chunk to make, or another one, unless the segment ends before."""
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
    """Tell it what came and what was done; ask it for the `next` turn, or, on two tracks, for the next of each.

    solve_width: how many streams share a solve. prefill_rows: how many rows a prefill has at most. patience: how many
    decode steps a chunk waits for others at most.
    """

    def __init__(self, solve_width: int, prefill_rows: int, patience: int = COMPANY_TOKENS) -> None:
        self._solve_width = solve_width
        self._prefill_rows = prefill_rows
        self._patience = patience
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
        entry.solving = False
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
        by_due = self._by_due()
        fresh = [entry for entry in by_due if entry.fresh]
        if fresh and not (self._leaders_turn and self._sooner_than_prefilled(by_due[0], fresh)):
            self._leaders_turn = True
            return self._prefill(fresh)
        self._leaders_turn = False
        for leader in by_due:
            if leader.solvable:
                return self._solve_of(by_due) or self._decode(by_due)
            if leader.spoken is not None:
                return self._tokens_for(leader, by_due)
        return None

    def next_step(self) -> Prefill | Decode | None:
        """Return what brings tokens, whether or not a solve goes on; None where there is enough of them for now."""
        by_due = self._by_due()
        fresh = [entry for entry in by_due if entry.fresh]
        # Nothing is taken from what makes somebody's first sound, but for somebody else's.
        first = any(entry.solving and not entry.sounding for entry in by_due)
        wanting = [
            entry for entry in by_due if entry.wants_tokens and not (first and (entry.sounding or entry.solving))
        ]
        leader = wanting[0] if wanting else None
        if fresh and not (self._leaders_turn and leader and self._sooner_than_prefilled(leader, fresh)):
            self._leaders_turn = True
            return self._prefill(fresh)
        self._leaders_turn = False
        return self._tokens_for(leader, by_due) if leader else None

    def next_solve(self) -> Solve | None:
        """Return what to make sound of while no solve goes on; None where there is nothing, or it waits for others.

        It waits for decode steps, so ask for the next step too.
        """
        return self._solve_of(self._by_due())

    def _by_due(self) -> list[_Stream]:
        return sorted(self._streams.values(), key=lambda entry: entry.due)

    def _tokens_for(self, leader: _Stream, by_due: Sequence[_Stream]) -> Prefill | Decode | None:
        if leader.decodes:
            return self._decode(by_due)
        return self._prefill([entry for entry in by_due if entry.spoken and not entry.decodes])

    def _decode(self, by_due: Sequence[_Stream]) -> Decode | None:
        riders = _riders(by_due)
        return Decode(tuple(entry.key for entry in riders)) if riders else None

    def _solve_of(self, by_due: Sequence[_Stream]) -> Solve | None:
        """Make a chunk for those who have one; not where they should wait for a step: each brings others nearer."""
        ready = [entry for entry in by_due if entry.solvable][: self._solve_width]
        if not ready:
            return None
        if not any(entry.fresh for entry in by_due) and self._company_comes(ready, _riders(by_due)):
            ready[0].waited += 1
            return None
        for entry in ready:
            entry.solving = True
            entry.segments[0].solve_what_is_known()
        return Solve(tuple(entry.key for entry in ready))

    def _sooner_than_prefilled(self, leader: _Stream, fresh: Sequence[_Stream]) -> bool:
        """Whether the leader comes to its chunk in no more decode steps than the newcomers take turns of prefill."""
        if leader.solvable or not leader.decodes or leader.segments[0].ended:
            return True
        rows = sum(entry.segments[0].rows_left for entry in fresh)
        return leader.steps_away <= -(-rows // self._prefill_rows)

    def _company_comes(self, ready: Sequence[_Stream], riders: Iterable[_Stream]) -> bool:
        """Whether the chunk that is due first should wait a step for one of the riders."""
        patience = self._patience - ready[0].waited
        return len(ready) < self._solve_width and any(
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


def _riders(by_due: Sequence[_Stream]) -> list[_Stream]:
    """Who takes part in a decode step: all who can, but for those who are far ahead of their sound."""
    return [entry for entry in by_due if entry.decodes and entry.ahead < RUN_AHEAD_TOKENS]
