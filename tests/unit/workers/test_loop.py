"""A worker's streams: jobs in on this thread, messages out through a real pipe, the engine played by the test."""

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from cosyserve.protocol import (
    Cancel,
    Cancelled,
    Chunk,
    Counted,
    Done,
    Failed,
    FailureCode,
    FromWorker,
    Heartbeat,
    Mode,
    Prompt,
    Shutdown,
    Synthesize,
)
from cosyserve.wire.queues import Outbox
from cosyserve_workers.engine import EngineBroken, RequestError
from cosyserve_workers.loop import NO_AUDIO, SUSPICIOUS_FAILURES, Loop
from cosyserve_workers.pcm import to_pcm16
from tests.serving import DEADLINE_S, wait_for

VOICE = Prompt(np.zeros(16_000, np.float32), 16_000, "voice")
SAMPLES = np.linspace(-1, 1, 240, dtype=np.float32)
PCM = to_pcm16(SAMPLES)
NOTHING = np.zeros(0, np.float32)

ends_its_thread = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

Cancelledness = Callable[[], bool]
Play = Callable[[Cancelledness], Iterable[NDArray[np.float32]]]


class Puppet:
    """An engine that plays, for each job, what the test has written for it."""

    model_type = "puppet"
    sample_rate = 24_000
    details: Mapping[str, str] = {}
    counters: Mapping[str, int] = {}

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.plays: dict[int, Play] = {}
        self.ended: list[int] = []
        self.self_tests = 0
        self.is_sound = True

    def warm_up(self) -> None:
        self.self_tests += 1
        if not self.is_sound:
            raise RuntimeError("unsound")

    def stream(self, request: Synthesize, cancelled: Cancelledness) -> Iterator[NDArray[np.float32]]:
        try:
            yield from self.plays[request.job_id](cancelled)
        finally:
            self.ended.append(request.job_id)

    def close(self) -> None:
        pass


class House:
    """A loop and its surroundings."""

    def __init__(self, streams: int = 2, depth: int = 100) -> None:
        self.engine = Puppet(streams)
        self.pipe, writer = Pipe(duplex=False)
        self.outbox = Outbox(writer, depth, "outbox")
        self.broken_off: list[str] = []
        self.loop = Loop(self.engine, self.outbox, self._break_off)
        self.failures = 0

    def _break_off(self, reason: str) -> NoReturn:
        self.broken_off.append(reason)
        self.outbox.close()
        raise SystemExit  # Ends the thread, as the real one ends the process.

    def play(self, job_id: int, play: Play) -> None:
        """Give the loop a job."""
        self.engine.plays[job_id] = play
        self.loop.handle(Synthesize(job_id, "text", Mode.CROSS_LINGUAL, "", "", VOICE, 1.0, 7))

    def next(self) -> FromWorker:
        """The next message that is no heartbeat."""
        while isinstance(message := receive(self.pipe), Heartbeat):
            pass
        return message

    def fail(self) -> None:
        """Have a job fail."""
        self.failures += 1
        self.play(1000 + self.failures, raising(RuntimeError("a bug")))
        message = self.next()
        assert isinstance(message, Failed)
        assert message.code is FailureCode.ENGINE_FAILED


def receive(pipe: Connection) -> FromWorker:
    assert pipe.poll(DEADLINE_S)
    message: FromWorker = pipe.recv()
    return message


def raising(error: Exception) -> Play:
    def play(_: Cancelledness) -> Iterator[NDArray[np.float32]]:
        raise error
        yield NOTHING

    return play


def yielding(*pieces: NDArray[np.float32]) -> Play:
    return lambda _: iter(pieces)


def held_by(gate: threading.Event, at_gate: threading.Event) -> Play:
    """One piece, then waiting, then pieces for as long as it is not told to stop."""

    def play(cancelled: Cancelledness) -> Iterator[NDArray[np.float32]]:
        yield SAMPLES
        at_gate.set()
        assert gate.wait(DEADLINE_S)
        while not cancelled():
            yield SAMPLES

    return play


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    close(house)


def close(house: House) -> None:
    house.loop.close(DEADLINE_S)
    house.outbox.close()
    house.pipe.close()
    assert house.outbox.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in house.loop._threads)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_job_is_its_chunks_and_then_done(house: House) -> None:
    house.play(1, yielding(SAMPLES, -SAMPLES))

    assert house.next() == Chunk(1, PCM)
    assert house.next() == Chunk(1, to_pcm16(-SAMPLES))
    done = house.next()
    assert isinstance(done, Done)
    assert done.job_id == 1
    assert 0 <= done.timings["first_chunk"] <= done.timings["total"]
    assert house.engine.ended == [1]


def test_empty_pieces_are_no_chunks(house: House) -> None:
    house.play(1, yielding(NOTHING, SAMPLES, NOTHING))

    assert house.next() == Chunk(1, PCM)
    assert isinstance(house.next(), Done)


@pytest.mark.parametrize("pieces", [[], [NOTHING, NOTHING]], ids=["no pieces", "empty pieces"])
def test_a_text_that_gives_no_audio_is_the_models_failure(house: House, pieces: list[NDArray[np.float32]]) -> None:
    house.play(1, yielding(*pieces))

    assert house.next() == Failed(1, FailureCode.ENGINE_FAILED, NO_AUDIO)


@pytest.mark.parametrize("code", [FailureCode.UNSPEAKABLE_TEXT, FailureCode.INVALID_PROMPT])
def test_a_refusal_has_the_engine_s_words(house: House, code: FailureCode) -> None:
    house.play(1, raising(RequestError(code, "why")))

    assert house.next() == Failed(1, code, "why")
    assert house.engine.ended == [1]


def test_a_failure_tells_the_client_nothing_and_the_log_all(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.play(1, raising(RuntimeError("secret")))

    failed = house.next()
    assert isinstance(failed, Failed)
    assert (failed.job_id, failed.code) == (1, FailureCode.ENGINE_FAILED)
    assert "secret" not in failed.message
    assert "RuntimeError: secret" in caplog.text


def test_a_failure_after_some_audio(house: House) -> None:
    def play(_: Cancelledness) -> Iterator[NDArray[np.float32]]:
        yield SAMPLES
        raise RuntimeError("a bug")

    house.play(1, play)

    assert house.next() == Chunk(1, PCM)
    assert isinstance(house.next(), Failed)


def test_an_engine_that_fails_before_it_gives_an_iterator(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(request: Synthesize, cancelled: Cancelledness) -> Iterator[NDArray[np.float32]]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(house.engine, "stream", stream)
    house.play(1, yielding())

    assert isinstance(house.next(), Failed)


def test_an_engine_may_give_any_iterator(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.engine, "stream", lambda request, cancelled: iter([SAMPLES]))
    house.play(1, yielding())

    assert house.next() == Chunk(1, PCM)
    assert isinstance(house.next(), Done)


@pytest.mark.parametrize(
    ("returned", "shares"), [({"decode": 0.5, "total": 9.0}, {"decode": 0.5}), ({}, {}), (None, {}), (3, {})]
)
def test_what_a_generator_returns_is_told_with_the_timings(
    house: House, monkeypatch: pytest.MonkeyPatch, returned: object, shares: dict[str, float]
) -> None:
    def stream(request: Synthesize, cancelled: Cancelledness) -> Generator[NDArray[np.float32], None, object]:
        yield np.ones(4, np.float32)
        return returned

    monkeypatch.setattr(house.engine, "stream", stream)
    house.play(1, yielding())
    assert isinstance(house.next(), Chunk)
    done = house.next()
    assert isinstance(done, Done)
    timings = dict(done.timings)
    assert (timings.pop("first_chunk") < 9, timings.pop("total") < 9) == (True, True)
    assert timings == shares


def test_cancel_stops_the_engine_at_its_next_step(house: House, gate: threading.Event) -> None:
    at_gate = threading.Event()
    house.play(1, held_by(gate, at_gate))
    assert house.next() == Chunk(1, PCM)
    assert at_gate.wait(DEADLINE_S)
    house.loop.handle(Cancel(1))
    gate.set()

    assert house.next() == Cancelled(1)
    assert house.engine.ended == [1]


def test_cancel_stops_an_engine_that_does_not_ask(house: House, gate: threading.Event) -> None:
    def play(_: Cancelledness) -> Iterator[NDArray[np.float32]]:
        yield SAMPLES
        assert gate.wait(DEADLINE_S)
        while True:
            yield SAMPLES

    house.play(1, play)
    assert house.next() == Chunk(1, PCM)
    house.loop.handle(Cancel(1))
    gate.set()

    assert house.next() == Cancelled(1)
    assert house.engine.ended == [1]


def test_cancel_before_a_stream_is_free(house: House, gate: threading.Event) -> None:
    started = [threading.Event(), threading.Event()]
    for job_id, at_gate in enumerate(started):
        house.play(job_id, held_by(gate, at_gate))
        assert at_gate.wait(DEADLINE_S)
        assert house.next() == Chunk(job_id, PCM)
    house.play(2, lambda cancelled: [] if cancelled() else [SAMPLES])
    for job_id in (2, 0):
        house.loop.handle(Cancel(job_id))
    gate.set()

    messages = [house.next()]
    while messages[-1] != Cancelled(2):
        messages.append(house.next())
    assert Cancelled(0) in messages
    assert Chunk(2, PCM) not in messages
    house.loop.handle(Cancel(1))


def test_cancel_of_what_is_over_or_unknown_does_nothing(house: House) -> None:
    house.loop.handle(Cancel(7))
    house.play(1, yielding(SAMPLES))
    assert house.next() == Chunk(1, PCM)
    assert isinstance(house.next(), Done)
    house.loop.handle(Cancel(1))
    house.play(7, yielding(SAMPLES))

    assert house.next() == Chunk(7, PCM)
    assert isinstance(house.next(), Done)


def test_a_failure_of_a_cancelled_job_ends_it_all_the_same(house: House, gate: threading.Event) -> None:
    def play(_: Cancelledness) -> Iterator[NDArray[np.float32]]:
        yield SAMPLES
        assert gate.wait(DEADLINE_S)
        raise RuntimeError("disturbed")

    house.play(1, play)
    assert house.next() == Chunk(1, PCM)
    house.loop.handle(Cancel(1))
    gate.set()

    message = house.next()
    assert isinstance(message, Failed)
    assert message.job_id == 1


def test_streams_run_side_by_side(house: House) -> None:
    both = threading.Barrier(2, timeout=DEADLINE_S)

    def play(_: Cancelledness) -> Iterator[NDArray[np.float32]]:
        both.wait()
        yield SAMPLES

    house.play(1, play)
    house.play(2, play)

    messages = [house.next() for _ in range(4)]
    assert {message.job_id for message in messages if isinstance(message, Done)} == {1, 2}


def test_a_stream_takes_one_job_after_the_other() -> None:
    house = House(streams=1)
    for job_id in range(5):
        house.play(job_id, yielding(SAMPLES))

    for job_id in range(5):
        assert house.next() == Chunk(job_id, PCM)
        assert isinstance(house.next(), Done)
    assert house.engine.ended == list(range(5))
    close(house)


def test_every_step_is_a_heartbeat(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosyserve_workers.loop.HEARTBEAT_S", -1)
    house.play(1, lambda cancelled: [SAMPLES] if not any(cancelled() for _ in range(3)) else [])

    assert [receive(house.pipe) for _ in range(3)] == [Heartbeat()] * 3
    assert receive(house.pipe) == Chunk(1, PCM)


def test_heartbeats_do_not_follow_each_other_too_closely(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosyserve_workers.loop.HEARTBEAT_S", math.inf)
    house.play(1, lambda cancelled: [SAMPLES] if not any(cancelled() for _ in range(100)) else [])

    assert receive(house.pipe) == Chunk(1, PCM)


def test_a_heartbeat_never_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosyserve_workers.loop.HEARTBEAT_S", -1)
    house = House(streams=1, depth=1)
    stepped = threading.Event()

    def play(cancelled: Cancelledness) -> Iterator[NDArray[np.float32]]:
        # More than the pipe and the outbox hold, and nobody reads.
        for _ in range(10_000):
            cancelled()
        stepped.set()
        yield SAMPLES

    house.play(1, play)
    assert stepped.wait(DEADLINE_S)

    assert house.next() == Chunk(1, PCM)
    assert isinstance(house.next(), Done)
    close(house)


@ends_its_thread
def test_an_engine_past_use_breaks_off(house: House) -> None:
    house.play(1, raising(EngineBroken("the device is lost")))

    with pytest.raises(EOFError):
        receive(house.pipe)
    assert house.broken_off == ["the engine is past use: the device is lost"]


def test_failures_in_a_row_make_a_sound_engine_prove_itself() -> None:
    house = House(streams=1)
    for _ in range(SUSPICIOUS_FAILURES):
        assert house.engine.self_tests == 0
        house.fail()
    house.play(1, yielding(SAMPLES))
    assert house.next() == Chunk(1, PCM)
    assert isinstance(house.next(), Done)

    assert (house.engine.self_tests, house.broken_off) == (1, [])
    close(house)


@ends_its_thread
def test_failures_in_a_row_end_an_unsound_engine() -> None:
    house = House(streams=1)
    house.engine.is_sound = False
    for _ in range(SUSPICIOUS_FAILURES):
        house.fail()

    with pytest.raises(EOFError):
        receive(house.pipe)
    assert house.broken_off == ["the engine fails its self-test"]
    close(house)


@pytest.mark.parametrize(
    "other",
    [yielding(SAMPLES), raising(RequestError(FailureCode.UNSPEAKABLE_TEXT, "why"))],
    ids=["a success", "a refusal"],
)
def test_failures_with_something_else_between_are_the_requests_own(other: Play) -> None:
    house = House(streams=1)
    house.engine.is_sound = False
    for job_id in range(3):
        for _ in range(SUSPICIOUS_FAILURES - 1):
            house.fail()
        house.play(job_id, other)
        while isinstance(house.next(), Chunk):
            pass

    assert (house.engine.self_tests, house.broken_off) == (0, [])
    close(house)


def test_shutdown_is_told(house: House) -> None:
    assert not house.loop.shut_down.is_set()
    house.loop.handle(Shutdown())
    assert house.loop.shut_down.is_set()


def test_close_cancels_what_runs(house: House, gate: threading.Event) -> None:
    at_gate = threading.Event()
    house.play(1, held_by(gate, at_gate))
    assert at_gate.wait(DEADLINE_S)
    gate.set()
    house.loop.close(DEADLINE_S)

    assert house.engine.ended == [1]
    assert not any(thread.is_alive() for thread in house.loop._threads)


def test_streams_end_when_nobody_listens_any_more(house: House, gate: threading.Event) -> None:
    at_gate = threading.Event()
    house.play(1, held_by(gate, at_gate))
    assert house.next() == Chunk(1, PCM)
    assert at_gate.wait(DEADLINE_S)
    house.pipe.close()
    gate.set()

    # It is never cancelled: the closed pipe alone ends it.
    wait_for(lambda: house.engine.ended == [1], "the job's end")


def test_what_the_engine_counts_is_told_when_there_is_news() -> None:
    house = House()
    house.play(1, yielding(SAMPLES))
    assert [type(house.next()) for _ in range(2)] == [Chunk, Done]
    house.engine.counters = {"graph_captures": 2}
    house.play(2, yielding(SAMPLES))
    _, counted, done = [house.next() for _ in range(3)]
    assert counted == Counted({"graph_captures": 2})
    assert isinstance(done, Done)
    house.play(3, yielding(SAMPLES))
    assert [type(house.next()) for _ in range(2)] == [Chunk, Done]
