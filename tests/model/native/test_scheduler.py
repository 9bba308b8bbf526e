"""Who goes next: the order of turns, and that whoever has something to say gets to its end."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
from cosyserve_workers.native.scheduler import Chunk, Decode, Prefill, Scheduler, Solve, Turn

PROMPT = 100
ROWS = 40


def scheduler(width: int = 1, rows: int = 512) -> Scheduler:
    return Scheduler(solve_width=width, prefill_rows=rows)


def join(subject: Scheduler, stream: int, now: float, rows: int = ROWS, prompt: int = PROMPT) -> None:
    subject.join(stream, now)
    subject.say(stream, prompt, rows)


def decode(subject: Scheduler, stream: int, tokens: int) -> None:
    for _ in range(tokens):
        subject.drawn(stream, token=True, ended=False)


def solve(subject: Scheduler, stream: int, tokens: int, sound_s: float, now: float, *, last: bool = False) -> None:
    subject.solved(stream, Chunk(tokens, sound_s, last, carried=True), now)


def test_nothing_to_do() -> None:
    subject = scheduler()
    assert subject.next() is None
    subject.join(1, 0.0)
    assert subject.next() is None, "its text has not come"
    assert subject.idle(1)


def test_a_stream_goes_from_text_to_sound() -> None:
    subject = scheduler()
    join(subject, 1, 0.0)
    assert subject.next() == Prefill(((1, ROWS),))
    assert subject.prefilled(1, ROWS)
    subject.drawn(1, token=True, ended=False)
    for _ in range(27):
        assert subject.next() == Decode((1,))
        subject.drawn(1, token=True, ended=False)
    assert subject.next() == Solve((1,)), "25 tokens and the three after them are known"
    solve(subject, 1, 25, 0.72, 3.0)
    assert subject.next() == Decode((1,))
    subject.drawn(1, token=False, ended=True)
    assert subject.next() == Solve((1,))
    solve(subject, 1, 28, 0.4, 3.1, last=True)
    assert subject.idle(1)
    assert subject.next() is None


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [(100, 28), (99, 29), (90, 13), (89, 14), (91, 37), (115, 13), (116, 37), (20, 33), (0, 28)],
)
def test_the_first_chunk_ends_at_the_first_boundary_that_is_ten_tokens_away(prompt: int, tokens: int) -> None:
    subject = scheduler()
    join(subject, 1, 0.0, prompt=prompt)
    subject.prefilled(1, ROWS)
    decode(subject, 1, tokens - 1)
    assert isinstance(subject.next(), Decode)
    decode(subject, 1, 1)
    assert isinstance(subject.next(), Solve)


def test_newcomers_are_prefilled_together_up_to_the_limit_and_a_long_one_in_pieces() -> None:
    subject = scheduler(rows=100)
    for stream, rows in ((1, 40), (2, 50), (3, 180)):
        join(subject, stream, float(stream), rows=rows)
    assert subject.next() == Prefill(((1, 40), (2, 50), (3, 10)))
    for stream, rows in ((1, 40), (2, 50), (3, 10)):
        whole = subject.prefilled(stream, rows)
        assert whole == (stream < 3)
        if whole:
            subject.drawn(stream, token=True, ended=False)
    decode(subject, 1, 25)
    assert subject.next() == Decode((1, 2)), "the leader's turn comes between two pieces"
    assert subject.next() == Prefill(((3, 100),))


def test_a_decode_step_takes_everyone_who_can_use_it() -> None:
    subject = scheduler()
    for stream in (1, 2, 3):
        join(subject, stream, float(stream))
        subject.prefilled(stream, ROWS)
        subject.drawn(stream, token=True, ended=False)
    assert subject.next() == Decode((1, 2, 3))
    decode(subject, 1, 27)
    assert subject.next() == Solve((1,)), "the first to come leads"
    solve(subject, 1, 25, 0.72, 10.0)
    assert subject.next() == Decode((2, 3, 1)), "its sound lasts; those who wait for theirs come first"


def test_a_stream_far_ahead_of_its_sound_stays_out_of_the_others_steps() -> None:
    subject = scheduler()
    for stream in (1, 2):
        join(subject, stream, float(stream))
        subject.prefilled(stream, ROWS)
        subject.drawn(stream, token=True, ended=False)
    decode(subject, 2, 260)
    assert subject.next() == Decode((1,))


def test_first_chunks_come_in_the_order_of_arrival_and_before_follow_ups() -> None:
    subject = scheduler()
    for stream, now in ((1, 0.0), (2, 1.0), (3, 2.0)):
        join(subject, stream, now)
        subject.prefilled(stream, ROWS)
        decode(subject, stream, 60)
    order = []
    for now in (3.0, 3.1, 3.2):
        turn = subject.next()
        assert isinstance(turn, Solve)
        (stream,) = turn.streams
        order.append(stream)
        solve(subject, stream, 25, 0.72, now)
    assert order == [1, 2, 3]
    assert subject.next() == Solve((1,)), "whose sound ends first"


def test_a_listener_who_ran_dry_before_a_newcomer_came_goes_first_once() -> None:
    subject = scheduler()
    join(subject, 1, 0.0)
    subject.prefilled(1, ROWS)
    decode(subject, 1, 120)
    subject.next()
    solve(subject, 1, 25, 0.72, 1.0)
    join(subject, 2, 20.0)
    subject.prefilled(2, ROWS)
    decode(subject, 2, 60)
    assert subject.next() == Solve((1,)), "dry since 1.72"
    solve(subject, 1, 50, 1.0, 21.0)
    assert subject.next() == Solve((2,)), "one chunk makes up for all that was late"


def test_a_solve_is_shared_up_to_its_width() -> None:
    subject = scheduler(width=2)
    for stream in (1, 2, 3):
        join(subject, stream, float(stream))
        subject.prefilled(stream, ROWS)
        decode(subject, stream, 28)
    assert subject.next() == Solve((1, 2))


def say_so_far(subject: Scheduler, known: tuple[int, ...]) -> None:
    """Streams 1, 2, ... that came in this order and have so many tokens; 28 make a chunk."""
    for stream, tokens in enumerate(known, start=1):
        join(subject, stream, float(stream))
        subject.prefilled(stream, ROWS)
        decode(subject, stream, tokens)


def test_a_solve_waits_for_others_that_are_some_steps_away() -> None:
    subject = scheduler(width=2)
    say_so_far(subject, (28, 26, 10))
    for _ in range(2):
        assert subject.next() == Decode((1, 2, 3))
        for stream in (1, 2, 3):
            decode(subject, stream, 1)
    assert subject.next() == Solve((1, 2))


@pytest.mark.parametrize(
    ("width", "known"),
    [
        (1, (28, 27)),  # nobody can share it
        (2, (28, 22)),  # too far away
        (2, (28, 28, 27)),  # all places are taken
    ],
)
def test_a_solve_does_not_wait_for_ever(width: int, known: tuple[int, ...]) -> None:
    subject = scheduler(width)
    say_so_far(subject, known)
    assert isinstance(subject.next(), Solve)


def test_a_solve_waits_for_some_steps_only_whoever_comes_next() -> None:
    subject = scheduler(width=4)
    say_so_far(subject, (28, 24, 23, 22))
    for _ in range(5):
        assert subject.next() == Decode((1, 2, 3, 4))
        for stream in (1, 2, 3, 4):
            decode(subject, stream, 1)
    assert subject.next() == Solve((1, 2, 3)), "the fourth would have a chunk after the next step"
    for stream in (1, 2, 3):
        solve(subject, stream, 25, 0.72, 5.0)
    assert subject.next() == Decode((4, 1, 2, 3))
    decode(subject, 4, 1)
    assert subject.next() == Solve((4,)), "the others are far away"


def test_a_solve_does_not_wait_while_newcomers_are_prefilled() -> None:
    subject = scheduler(width=2)
    say_so_far(subject, (28, 27))
    join(subject, 3, 3.0, rows=900)
    assert subject.next() == Prefill(((3, 512),))
    subject.prefilled(3, 512)
    assert subject.next() == Solve((1,))


def test_what_has_ended_waits_for_others_too() -> None:
    subject = scheduler(width=2)
    say_so_far(subject, (28, 27))
    subject.drawn(1, token=False, ended=True)
    assert subject.next() == Decode((2,))
    decode(subject, 2, 1)
    assert subject.next() == Solve((1, 2))


def test_newcomers_are_all_prefilled_before_a_leader_who_needs_more_steps_than_that_takes() -> None:
    subject = scheduler(rows=40)
    for stream in (1, 2, 3):
        join(subject, stream, float(stream))
    for stream in (1, 2, 3):
        assert subject.next() == Prefill(((stream, 40),))
        subject.prefilled(stream, ROWS)
        subject.drawn(stream, token=True, ended=False)
    assert subject.next() == Decode((1, 2, 3))


def test_without_carried_state_chunks_grow() -> None:
    subject = scheduler()
    join(subject, 1, 0.0)
    subject.prefilled(1, ROWS)
    known, wanted = 0, []
    solved = 0
    for now in (1.0, 2.0, 3.0, 4.0):
        while not isinstance(subject.next(), Solve):
            decode(subject, 1, 1)
            known += 1
        wanted.append(known - 3 - solved)
        solved = known - 3
        subject.solved(1, Chunk(solved, 1.0, last=False, carried=False), now)
    assert wanted == [25, 50, 100, 100]


def test_the_next_segment_is_spoken_while_the_last_is_heard() -> None:
    subject = scheduler()
    join(subject, 1, 0.0)
    subject.say(1, PROMPT, ROWS)
    subject.prefilled(1, ROWS)
    decode(subject, 1, 10)
    subject.drawn(1, token=False, ended=True)
    assert subject.next() == Solve((1,)), "the first sound before the next segment"
    solve(subject, 1, 10, 0.4, 1.0, last=True)
    assert not subject.idle(1)
    assert subject.next() == Prefill(((1, ROWS),))


def test_whoever_leaves_is_forgotten() -> None:
    subject = scheduler()
    join(subject, 1, 0.0)
    join(subject, 2, 1.0)
    subject.leave(1)
    assert subject.next() == Prefill(((2, ROWS),))
    subject.leave(2)
    assert subject.next() is None


def both(subject: Scheduler) -> tuple[Turn | None, Turn | None]:
    """What two tracks do next: make sound, bring tokens."""
    return subject.next_solve(), subject.next_step()


def test_on_two_tracks_the_next_chunk_is_decoded_while_one_is_made() -> None:
    subject = scheduler()
    say_so_far(subject, (27,))
    assert both(subject) == (None, Decode((1,)))
    decode(subject, 1, 1)
    assert both(subject) == (Solve((1,)), None), "nothing is taken from a first sound"
    solve(subject, 1, 25, 0.72, 2.0)
    assert both(subject) == (None, Decode((1,)))
    decode(subject, 1, 25)
    assert both(subject) == (Solve((1,)), Decode((1,)))
    decode(subject, 1, 24)
    assert subject.next_step() == Decode((1,)), "one chunk is being made"
    decode(subject, 1, 1)
    assert subject.next_step() is None, "and the next one is there to be made"
    solve(subject, 1, 50, 1.0, 3.0)
    assert both(subject) == (Solve((1,)), Decode((1,)))


def test_on_two_tracks_newcomers_need_not_wait_for_a_solve() -> None:
    subject = scheduler()
    say_so_far(subject, (53,))
    assert both(subject) == (Solve((1,)), None)
    join(subject, 2, 5.0)
    assert subject.next_step() == Prefill(((2, ROWS),))
    subject.prefilled(2, ROWS)
    decode(subject, 2, 27)
    assert subject.next_step() == Decode((1, 2)), "for somebody else's first sound; the other may ride"
    decode(subject, 2, 1)
    assert subject.next_step() is None
    solve(subject, 1, 50, 1.5, 5.2)
    assert subject.next_solve() == Solve((2,))


def test_on_two_tracks_the_next_segment_is_read_while_the_last_chunk_is_made() -> None:
    subject = scheduler()
    say_so_far(subject, (28,))
    subject.say(1, PROMPT, ROWS)
    assert both(subject) == (Solve((1,)), None)
    subject.drawn(1, token=False, ended=True)
    solve(subject, 1, 25, 0.72, 2.0)
    assert both(subject) == (Solve((1,)), Prefill(((1, ROWS),)))
    subject.prefilled(1, ROWS)
    decode(subject, 1, 27)
    assert subject.next_step() == Decode((1,))
    decode(subject, 1, 1)
    assert subject.next_step() is None
    solve(subject, 1, 28, 1.1, 3.0, last=True)
    assert both(subject) == (Solve((1,)), Decode((1,)))


def test_on_two_tracks_who_left_and_came_again_is_somebody_else() -> None:
    subject = scheduler()
    say_so_far(subject, (28,))
    assert subject.next_solve() == Solve((1,))
    subject.leave(1)
    say_so_far(subject, (28,))
    assert subject.next_solve() == Solve((1,))


def test_a_solve_waits_as_long_as_it_is_told() -> None:
    subject = Scheduler(solve_width=2, prefill_rows=512, patience=2)
    say_so_far(subject, (28, 25))
    assert both(subject) == (Solve((1,)), Decode((1, 2)))
    subject = Scheduler(solve_width=2, prefill_rows=512, patience=3)
    say_so_far(subject, (28, 25))
    for _ in range(3):
        assert both(subject) == (None, Decode((1, 2)))
        decode(subject, 2, 1)
    assert subject.next_solve() == Solve((1, 2))


@dataclass
class Talk:
    """A stream's text: (speech tokens of each segment, what the voice's prompt has)."""

    came: int
    lengths: list[int]
    prompt: int
    rows: int


talks = st.lists(
    st.builds(
        Talk,
        came=st.integers(0, 400),
        lengths=st.lists(st.integers(0, 130), min_size=1, max_size=3),
        prompt=st.integers(0, 130),
        rows=st.integers(3, 900),
    ),
    min_size=1,
    max_size=10,
)


class Model:
    """Stands for the networks: does what a turn says, and counts."""

    def __init__(self, subject: Scheduler, talks: list[Talk], *, carried: bool) -> None:
        self.subject = subject
        self.talks = talks
        self.carried = carried
        self.present: set[int] = set()
        self.spoken = [[0] * len(talk.lengths) for talk in talks]
        self.solved = [[0] * len(talk.lengths) for talk in talks]
        self.lm = [0] * len(talks)
        self.heard = [0] * len(talks)
        self.done: list[int] = []
        self.now = 0

    def run(self) -> None:
        for self.now in range(40_000):
            self.join()
            turn = self.subject.next()
            if turn is None:
                if len(self.done) == len(self.talks):
                    return
                assert any(talk.came > self.now for talk in self.talks), "nothing to do, and not done"
            else:
                self.take(turn)
        pytest.fail("somebody starves")

    def join(self) -> None:
        for stream, talk in enumerate(self.talks):
            if talk.came <= self.now and stream not in self.present and stream not in self.done:
                self.present.add(stream)
                self.subject.join(stream, float(self.now))
                for _ in talk.lengths:
                    self.subject.say(stream, talk.prompt, talk.rows)

    def take(self, turn: Turn) -> None:
        match turn:
            case Prefill(pieces):
                assert 0 < sum(rows for _, rows in pieces) <= 512
                assert len({stream for stream, _ in pieces}) == len(pieces)
                for stream, rows in pieces:
                    if self.subject.prefilled(stream, rows):
                        self.draw(stream)
            case Decode(streams):
                assert streams
                for stream in streams:
                    self.draw(stream)
            case Solve(streams):
                assert 0 < len(streams) <= 2
                for stream in streams:
                    self.solve(stream)

    def draw(self, stream: int) -> None:
        segment = self.lm[stream]
        speaks = self.spoken[stream][segment] < self.talks[stream].lengths[segment]
        self.spoken[stream][segment] += speaks
        self.subject.drawn(stream, token=speaks, ended=not speaks)
        self.lm[stream] += not speaks

    def solve(self, stream: int) -> None:
        segment = self.heard[stream]
        self.settle(stream, self.lm[stream] > segment, self.spoken[stream][segment])

    def settle(self, stream: int, ended: bool, known: int) -> None:
        segment = self.heard[stream]
        prompt = self.talks[stream].prompt
        boundary = max((prompt + known - 3) // 25 * 25 - prompt, 0)
        solved = known if ended else boundary
        before, self.solved[stream][segment] = self.solved[stream][segment], solved
        assert ended or solved > before, "a solve that gives nothing"
        chunk = Chunk(solved, (solved - before) / 25, last=ended, carried=self.carried)
        self.subject.solved(stream, chunk, self.now)
        self.heard[stream] += ended
        if self.subject.idle(stream):
            self.subject.leave(stream)
            self.present.discard(stream)
            self.done.append(stream)


class OnTwoTracks(Model):
    """A solve goes on for some steps."""

    def __init__(self, subject: Scheduler, talks: list[Talk], *, carried: bool, steps: int) -> None:
        super().__init__(subject, talks, carried=carried)
        self.steps = steps
        self.solving: list[tuple[int, bool, int]] = []
        """Of each: stream, whether its segment had ended, tokens that were known."""
        self.until = 0

    def run(self) -> None:
        for self.now in range(40_000):
            self.join()
            if self.solving and self.now >= self.until:
                for one in self.solving:
                    self.settle(*one)
                self.solving = []
            solve = None if self.solving else self.subject.next_solve()
            step = self.subject.next_step()
            for turn in (solve, step):
                if turn is not None:
                    self.take(turn)
            if solve is None and step is None and not self.solving:
                if len(self.done) == len(self.talks):
                    return
                assert any(talk.came > self.now for talk in self.talks), "nothing to do, and not done"
        pytest.fail("somebody starves")

    def solve(self, stream: int) -> None:
        assert stream not in [one for one, _, _ in self.solving]
        segment = self.heard[stream]
        self.solving.append((stream, self.lm[stream] > segment, self.spoken[stream][segment]))
        self.until = self.now + self.steps


@given(talks, st.booleans())
def test_all_is_said_whatever_comes(talks: list[Talk], carried: bool) -> None:
    model = Model(scheduler(width=2), talks, carried=carried)
    model.run()
    assert model.solved == [talk.lengths for talk in talks]


@given(talks, st.booleans(), st.integers(0, 60))
def test_all_is_said_on_two_tracks(talks: list[Talk], carried: bool, steps: int) -> None:
    model = OnTwoTracks(scheduler(width=2), talks, carried=carried, steps=steps)
    model.run()
    assert model.solved == [talk.lengths for talk in talks]
