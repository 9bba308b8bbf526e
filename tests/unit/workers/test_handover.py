"""Messages from a thread to an event loop that is busy, idle or closed."""

import asyncio
import threading

from cosyserve.protocol import Chunk, FromWorker, Heartbeat
from cosyserve_workers.handover import Handover
from tests.serving import DEADLINE_S, wait_for

DEPTH = 4


def put_all(handover: Handover, messages: list[FromWorker], done: list[int]) -> threading.Thread:
    def put() -> None:
        for number, message in enumerate(messages, 1):
            handover.put(message)
            done.append(number)

    thread = threading.Thread(target=put)
    thread.start()
    return thread


def test_all_come_in_order_and_a_busy_loop_holds_the_thread_back() -> None:
    messages: list[FromWorker] = [Chunk(number, b"") for number in range(100)]
    handled: list[FromWorker] = []

    async def scenario() -> None:
        all_handled = asyncio.Event()

        def handle(message: FromWorker) -> None:
            handled.append(message)
            if len(handled) == len(messages):
                all_handled.set()

        handover = Handover(asyncio.get_running_loop(), handle, DEPTH)
        put: list[int] = []
        thread = put_all(handover, messages, put)
        # The loop does nothing else meanwhile.
        wait_for(lambda: len(put) == DEPTH, "as many as there is room for")
        assert not handled
        async with asyncio.timeout(DEADLINE_S):
            await all_handled.wait()
        thread.join(DEADLINE_S)

    asyncio.run(scenario())
    assert handled == messages


def test_the_loop_is_woken_once_for_what_has_come() -> None:
    class Counting(asyncio.SelectorEventLoop):
        woken = 0

        def call_soon_threadsafe(self, *args, **kwargs):  # type: ignore[no-untyped-def, override]
            self.woken += 1
            return super().call_soon_threadsafe(*args, **kwargs)

    loop, handled = Counting(), list[FromWorker]()
    handover = Handover(loop, handled.append, DEPTH)
    put_all(handover, [Heartbeat()] * DEPTH, []).join(DEADLINE_S)
    assert loop.woken == 1
    loop.run_until_complete(asyncio.sleep(0))
    assert len(handled) == DEPTH
    loop.close()
    handover.put(Heartbeat())  # Nobody is there any more.
    assert len(handled) == DEPTH
