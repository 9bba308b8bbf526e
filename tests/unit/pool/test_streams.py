"""Audio streams and the bound on what they hold."""

import asyncio

import pytest

from cosyserve.errors import ListenerStalled, WorkerDied
from cosyserve.pool.streams import PIECE_BYTES, AudioStream, BufferLedger, Taker


class Listener:
    """A stream whose ends are both in the test's hands."""

    def __init__(self, ledger: BufferLedger) -> None:
        self.abandoned = 0
        self.interrupted = 0
        self.stream = AudioStream(ledger, self._abandon)
        self.stream.interrupt = self._interrupt
        self.stream.begin(24_000)

    def _abandon(self) -> None:
        self.abandoned += 1

    def _interrupt(self) -> None:
        self.interrupted += 1

    async def take_all(self) -> bytes:
        audio = b""
        while (piece := await self.stream.take()) is not None:
            audio += piece
        return audio


@pytest.fixture
def ledger() -> BufferLedger:
    return BufferLedger(limit_bytes=4 * PIECE_BYTES)


def test_audio_comes_in_order_and_ends(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    listener.stream.feed(b"ab")
    listener.stream.feed(b"")
    listener.stream.feed(b"cd")
    listener.stream.end(None)
    assert asyncio.run(listener.take_all()) == b"abcd"
    assert ledger.held_bytes == 0


def test_a_long_chunk_leaves_in_pieces(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    listener.stream.feed(bytes(PIECE_BYTES + 2))
    listener.stream.end(None)

    async def sizes() -> list[int]:
        taken = []
        while (piece := await listener.stream.take()) is not None:
            taken.append(len(piece))
        return taken

    assert asyncio.run(sizes()) == [PIECE_BYTES, 2]


def test_short_chunks_that_wait_leave_together(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    chunks = [bytes([number]) * 1920 for number in range(30)]
    for chunk in chunks:
        listener.stream.feed(chunk)
    listener.stream.end(None)

    async def scenario() -> None:
        audio = b"".join(chunks)
        assert await listener.stream.take() == audio[:PIECE_BYTES]
        assert listener.stream.backlog_bytes == ledger.held_bytes == len(audio) - PIECE_BYTES
        assert await listener.stream.take() == audio[PIECE_BYTES:]
        assert await listener.stream.take() is None

    asyncio.run(scenario())


def test_one_with_much_to_take_lets_the_others_have_their_turn(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    for _ in range(3):
        listener.stream.feed(bytes(PIECE_BYTES))

    async def scenario() -> int:
        taken: list[bytes | None] = []

        async def take() -> None:
            while len(taken) < 3:
                taken.append(await listener.stream.take())

        taking = asyncio.create_task(take())
        turns = 0
        while not taking.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(scenario()) >= 3


def test_take_waits_for_audio(ledger: BufferLedger) -> None:
    listener = Listener(ledger)

    async def scenario() -> bytes | None:
        taking = asyncio.create_task(listener.stream.take())
        await asyncio.sleep(0)
        assert not taking.done()
        listener.stream.feed(b"ab")
        return await taking

    assert asyncio.run(scenario()) == b"ab"


def test_what_is_held_is_taken_before_the_error(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    listener.stream.feed(b"ab")
    listener.stream.end(WorkerDied("gone"))

    async def scenario() -> None:
        assert await listener.stream.take() == b"ab"
        with pytest.raises(WorkerDied):
            await listener.stream.take()

    asyncio.run(scenario())


def test_rewind_forgets_what_nobody_took(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    listener.stream.feed(b"ab")
    assert listener.stream.rewind()
    listener.stream.feed(b"cd")
    listener.stream.end(None)
    assert asyncio.run(listener.take_all()) == b"cd"


def test_rewind_is_refused_once_some_is_taken(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    listener.stream.feed(b"ab")
    asyncio.run(listener.stream.take())
    assert not listener.stream.rewind()


def test_the_one_furthest_behind_is_cut_off(ledger: BufferLedger) -> None:
    behind, ahead = Listener(ledger), Listener(ledger)
    ahead.stream.feed(bytes(PIECE_BYTES))
    for _ in range(4):
        behind.stream.feed(bytes(PIECE_BYTES))
    assert (behind.abandoned, behind.interrupted, ahead.abandoned) == (1, 1, 0)
    assert ledger.held_bytes == PIECE_BYTES
    with pytest.raises(ListenerStalled):
        asyncio.run(behind.stream.take())
    assert asyncio.run(ahead.stream.take()) == bytes(PIECE_BYTES)


def test_one_chunk_over_the_whole_limit_cuts_its_own_listener(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    listener.stream.feed(bytes(4 * PIECE_BYTES + 2))
    assert (listener.abandoned, ledger.held_bytes) == (1, 0)


def test_close_gives_everything_back(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    listener.stream.feed(b"ab")
    listener.stream.close()
    listener.stream.feed(b"cd")
    assert ledger.held_bytes == 0
    assert asyncio.run(listener.stream.take()) is None


def test_the_first_ending_counts(ledger: BufferLedger) -> None:
    listener = Listener(ledger)
    listener.stream.end(None)
    listener.stream.end(WorkerDied("late"))
    assert asyncio.run(listener.stream.take()) is None


class TestAtOnce:
    """Chunks that are taken as they come."""

    def test_while_somebody_waits_and_nothing_does(self, ledger: BufferLedger) -> None:
        listener, taken = Listener(ledger), list[bytes]()

        async def scenario() -> None:
            listener.stream.feed(b"before")
            assert await listener.stream.take(taking(taken)) == b"before"
            listener.stream.feed(b"between")
            assert await listener.stream.take(taking(taken)) == b"between"
            waiting = asyncio.create_task(listener.stream.take(taking(taken)))
            await asyncio.sleep(0)
            for chunk in (b"one", b"two"):
                listener.stream.feed(chunk)
                await asyncio.sleep(0)
            assert taken == [b"one", b"two"]
            assert ledger.held_bytes == 0
            assert not waiting.done()
            listener.stream.end(None)
            assert await waiting is None

        asyncio.run(scenario())

    def test_none_overtakes_one_that_was_declined(self, ledger: BufferLedger) -> None:
        listener, taken = Listener(ledger), list[bytes]()

        async def scenario() -> None:
            waiting = asyncio.create_task(listener.stream.take(taking(taken, but=b"two")))
            await asyncio.sleep(0)
            for chunk in (b"one", b"two", b"three"):
                listener.stream.feed(chunk)
            assert await waiting == b"twothree"
            assert taken == [b"one"]

        asyncio.run(scenario())

    def test_none_that_is_longer_than_a_piece(self, ledger: BufferLedger) -> None:
        listener, taken = Listener(ledger), list[bytes]()

        async def scenario() -> None:
            waiting = asyncio.create_task(listener.stream.take(taking(taken)))
            await asyncio.sleep(0)
            listener.stream.feed(bytes(PIECE_BYTES + 2))
            assert await waiting == bytes(PIECE_BYTES)
            assert not taken

        asyncio.run(scenario())

    def test_it_counts_as_heard(self, ledger: BufferLedger) -> None:
        listener = Listener(ledger)

        async def scenario() -> None:
            waiting = asyncio.create_task(listener.stream.take(taking([])))
            await asyncio.sleep(0)
            listener.stream.feed(b"ab")
            assert not listener.stream.rewind()
            waiting.cancel()

        asyncio.run(scenario())

    def test_not_by_one_who_waits_no_more(self, ledger: BufferLedger) -> None:
        listener, taken = Listener(ledger), list[bytes]()

        async def scenario() -> None:
            waiting = asyncio.create_task(listener.stream.take(taking(taken)))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            listener.stream.feed(b"ab")
            assert not taken
            assert listener.stream.backlog_bytes == 2

        asyncio.run(scenario())


def taking(taken: list[bytes], but: bytes = b"") -> Taker:
    """Takes each chunk but one."""

    def take(chunk: bytes) -> bool:
        if chunk != but:
            taken.append(chunk)
        return chunk != but

    return take
