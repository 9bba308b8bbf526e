"""Queues whose peer is a real process that dies, stops or talks nonsense."""

import asyncio
import fcntl
import os
import pickle
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cosyserve.pool.results import Results
from cosyserve.protocol import Chunk, Done, Heartbeat
from cosyserve.wire.queues import Inbox, Outbox, QueueClosed, QueueFull
from tests.serving import DEADLINE_S, wait_for

WHOLE = [Chunk(1, b"first"), Done(1, {"total": 1.0})]
PIPE_BYTES = 65_536


def frame(message: object) -> bytes:
    """What `Connection.send` puts on the pipe."""
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        writer.send(message)
        return os.read(reader.fileno(), PIPE_BYTES)


class Reader:
    """One of the two that read pipes, and what came out of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages: list[object] = []
        self.closed: list[bool] = []

    def close(self) -> None:
        self.closed.append(True)

    def ends(self) -> bool:
        raise NotImplementedError


class InThread(Reader):
    """An inbox."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._inbox = Inbox(connection, self.messages.append, self.close, "inbox")

    def ends(self) -> bool:
        return self._inbox.join(DEADLINE_S) and self.closed == [True] and self.connection.closed


class OnLoop(Reader):
    """Results, on an event loop that runs while somebody waits for what comes."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._loop = asyncio.new_event_loop()
        self.results = Results(connection, self._loop, self.messages.append, self.close)

    def turn(self) -> bool:
        """Whether there is no more to come."""
        self._loop.run_until_complete(asyncio.sleep(0))
        return self.connection.closed

    def ends(self) -> bool:
        wait_for(self.turn, "the end of the pipe")
        self._loop.close()
        return self.closed == [True]


READERS = [InThread, OnLoop]


class Writer:
    """A process that writes a file's first bytes to a pipe and is killed, or stays."""

    def __init__(self, connection: Connection, data: Path, size: int, then: str) -> None:
        command = ["sh", "-c", f'head -c "$1" "$2"; {then}', "sh", str(size), str(data)]
        self._process = subprocess.Popen(command, stdout=connection.fileno())
        connection.close()

    def wait(self) -> int:
        return self._process.wait(DEADLINE_S)

    def kill(self) -> None:
        self._process.kill()
        self.wait()


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Connection]]:
    reader, writer = Pipe(duplex=False)
    yield reader, writer
    for end in (reader, writer):
        end.close()


def read_until_death(kind: type[Reader], data: Path, size: int) -> Reader:
    connection, writing_end = Pipe(duplex=False)
    reader = kind(connection)
    writer = Writer(writing_end, data, size, "kill -9 $$")
    assert reader.ends()
    assert writer.wait() == -signal.SIGKILL
    return reader


@pytest.mark.parametrize("kind", READERS)
def test_a_peer_killed_at_every_byte_of_a_message(kind: type[Reader], tmp_path: Path) -> None:
    before, torn = b"".join(map(frame, WHOLE)), frame(Chunk(2, b"second"))
    data = tmp_path / "frames"
    data.write_bytes(before + torn)
    for k in range(len(torn)):
        assert read_until_death(kind, data, len(before) + k).messages == WHOLE, k
    assert read_until_death(kind, data, len(before) + len(torn)).messages == [*WHOLE, Chunk(2, b"second")]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("k", [3, 4, 5, 16_384, PIPE_BYTES - 1, PIPE_BYTES, PIPE_BYTES + 1, 199_999, 200_050, 200_067])
def test_a_peer_killed_within_a_message_larger_than_the_pipe(kind: type[Reader], k: int, tmp_path: Path) -> None:
    payload = pickle.dumps(Chunk(2, bytes(200_000)))
    torn = struct.pack("!i", len(payload)) + payload
    assert k < len(torn)
    data = tmp_path / "frames"
    data.write_bytes(frame(WHOLE[0]) + torn)
    assert read_until_death(kind, data, len(frame(WHOLE[0])) + k).messages == WHOLE[:1]
    assert read_until_death(kind, data, len(frame(WHOLE[0])) + len(torn)).messages == [
        WHOLE[0],
        Chunk(2, bytes(200_000)),
    ]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack("!i", 4) + b"junk",
        struct.pack("!i", -2) + b"junk",
        struct.pack("!i", 0),
        struct.pack("!i", 20) + b"cno_such_module\nname\n."[:20],
        struct.pack("!i", 15) + b"cos\nno_such_x\n.",
    ],
    ids=["no pickle", "negative length", "empty", "unknown module", "unknown name"],
)
def test_a_peer_that_talks_nonsense_is_a_peer_lost(
    kind: type[Reader],
    nonsense: bytes,
    tmp_path: Path,
    pipe: tuple[Connection, Connection],
    announced: list[str],
) -> None:
    announced.append("a message cannot be read or delivered: its sender counts as lost")
    data = tmp_path / "nonsense"
    data.write_bytes(frame(WHOLE[0]) + nonsense)
    reader = kind(pipe[0])
    writer = Writer(pipe[1], data, len(data.read_bytes()), "exec sleep 3600")
    assert reader.ends()
    assert reader.messages == WHOLE[:1]
    writer.kill()


def test_what_a_dead_peer_has_sent_is_taken_though_another_process_holds_its_end(
    tmp_path: Path, pipe: tuple[Connection, Connection]
) -> None:
    data = tmp_path / "frames"
    data.write_bytes(b"".join(map(frame, WHOLE)) + frame(Heartbeat())[:-1])
    reader = OnLoop(pipe[0])
    holder = Writer(pipe[1], data, len(data.read_bytes()), "exec sleep 3600")
    wait_for(lambda: held_bytes(pipe[0]) == len(data.read_bytes()), "all of it in the pipe")
    assert not reader.messages
    reader.results.finish()
    assert reader.messages == WHOLE
    assert reader.ends()
    holder.kill()


def held_bytes(connection: Connection) -> int:
    """What is in a pipe."""
    held: int = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)))[0]
    return held


class Sleeper:
    """A process that holds the reading end and reads nothing."""

    def __init__(self, connection: Connection) -> None:
        self._process = subprocess.Popen(["sleep", "3600"], pass_fds=[connection.fileno()])
        connection.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(DEADLINE_S)


@pytest.fixture
def sleeper(pipe: tuple[Connection, Connection]) -> Iterator[Sleeper]:
    sleeper = Sleeper(pipe[0])
    yield sleeper
    sleeper.kill()


def full_pipe(connection: Connection) -> bool:
    """Whether a writer blocks: fewer than a page's bytes are free."""
    return held_bytes(connection) > PIPE_BYTES - 4096


def test_an_outbox_is_bounded_where_its_peer_never_reads(pipe: tuple[Connection, Connection], sleeper: Sleeper) -> None:
    outbox = Outbox(pipe[1], depth=3, name="outbox")
    outbox.put_nowait(bytes(2 * PIPE_BYTES))
    wait_for(lambda: full_pipe(pipe[1]), "a full pipe")
    for _ in range(3):
        outbox.put_nowait(Heartbeat())
    with pytest.raises(QueueFull):
        outbox.put_nowait(Heartbeat())

    sleeper.kill()

    assert outbox.join(DEADLINE_S)
    assert pipe[1].closed
    with pytest.raises(QueueClosed):
        outbox.put(Heartbeat())


def test_a_put_that_waits_is_woken_by_its_peer_s_death(pipe: tuple[Connection, Connection], sleeper: Sleeper) -> None:
    outbox = Outbox(pipe[1], depth=1, name="outbox")
    outcomes: list[str] = []

    def put() -> None:
        try:
            outbox.put(Heartbeat())
        except QueueClosed:
            outcomes.append("closed")
        else:
            outcomes.append("taken")

    outbox.put(bytes(2 * PIPE_BYTES))
    wait_for(lambda: full_pipe(pipe[1]), "a full pipe")
    outbox.put(Heartbeat())
    waiting = [threading.Thread(target=put) for _ in range(3)]
    for thread in waiting:
        thread.start()
    wait_for(lambda: len(outbox._changed._waiters) == 3, "three waiting puts")  # type: ignore[attr-defined]

    sleeper.kill()

    for thread in waiting:
        thread.join(DEADLINE_S)
    assert outcomes == ["closed"] * 3


def test_a_closed_outbox_sends_what_it_had_taken(pipe: tuple[Connection, Connection]) -> None:
    outbox = Outbox(pipe[1], depth=10, name="outbox")
    messages = [Chunk(1, bytes([number]) * 30_000) for number in range(10)]
    for message in messages:
        outbox.put_nowait(message)
    outbox.close()
    with pytest.raises(QueueClosed):
        outbox.put_nowait(Heartbeat())

    reader = OnLoop(pipe[0])

    assert reader.ends()
    assert reader.messages == messages
    assert outbox.join(DEADLINE_S)


def test_a_message_that_cannot_be_pickled_closes_the_outbox(
    pipe: tuple[Connection, Connection], announced: list[str]
) -> None:
    announced.append("a message cannot be sent, and so none after it")
    outbox = Outbox(pipe[1], depth=10, name="outbox")
    reader = OnLoop(pipe[0])
    outbox.put(Heartbeat())
    outbox.put(threading.Lock())

    assert reader.ends()
    assert reader.messages == [Heartbeat()]
    assert outbox.join(DEADLINE_S)
    with pytest.raises(QueueClosed):
        outbox.put_nowait(Heartbeat())


def how_many(received: object) -> int:
    return len(received) if isinstance(received, list) else 1


def test_messages_that_wait_are_sent_together_and_come_one_by_one(pipe: tuple[Connection, Connection]) -> None:
    outbox = Outbox(pipe[1], depth=100, name="outbox", together=4)
    messages = [Chunk(0, bytes(2 * PIPE_BYTES)), *(Chunk(number, b"sound") for number in range(1, 10))]
    outbox.put(messages[0])
    wait_for(lambda: full_pipe(pipe[1]), "a full pipe")
    for message in messages[1:]:
        outbox.put(message)
    outbox.close()

    received: list[object] = []
    while sum(map(how_many, received)) < len(messages):
        received.append(pipe[0].recv())

    assert [how_many(one) for one in received] == [1, 4, 4, 1]
    pipe_again = Pipe(duplex=False)
    with pipe_again[1] as writer:
        for one in received[1:]:
            writer.send(one)
    reader = OnLoop(pipe_again[0])
    assert reader.ends()
    assert reader.messages == messages[1:]


def test_of_messages_sent_together_those_before_one_that_cannot_be_sent_arrive(
    pipe: tuple[Connection, Connection], announced: list[str]
) -> None:
    announced.append("a message cannot be sent, and so none after it")
    outbox = Outbox(pipe[1], depth=100, name="outbox", together=4)
    outbox.put(bytes(2 * PIPE_BYTES))
    wait_for(lambda: full_pipe(pipe[1]), "a full pipe")
    for message in (Heartbeat(), threading.Lock(), Heartbeat()):
        outbox.put(message)

    reader = OnLoop(pipe[0])

    assert reader.ends()
    assert reader.messages == [bytes(2 * PIPE_BYTES), Heartbeat()]
