"""Who goes first on the device."""

import threading
import time

import pytest

from tests.model import cosyvoice_kit as kit

pytest.importorskip("torch")
from cosyserve_workers.cosyvoice.turns import PATIENCE_S, Pace, Turns

pytestmark = kit.LIBRARY


def test_the_earliest_due_goes_next_whoever_came_first() -> None:
    turns, order = Turns(), []
    waiting = threading.Semaphore(0)

    def take(due: float) -> None:
        waiting.release()
        with turns.take(due):
            order.append(due)

    with turns.take(0.0):
        threads = [threading.Thread(target=take, args=(due,)) for due in (3.0, 1.0, 2.0)]
        for thread in threads:
            thread.start()
        for _ in threads:
            waiting.acquire()
        while len(turns._waiting) < len(threads):
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert order == [1.0, 2.0, 3.0]


def test_a_turn_that_fails_passes_on() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.take(0.0):
        raise ZeroDivisionError
    with turns.take(0.0):
        pass


def test_before_its_first_sound_a_stream_is_due_since_it_came() -> None:
    early, late = Pace(), Pace()
    assert early.due() <= late.due() <= time.monotonic()


def test_a_stream_ahead_of_its_listener_lets_others_pass_but_not_for_ever() -> None:
    playing = Pace()
    playing.sent(60.0)
    newcomer = Pace()
    assert newcomer.due() < playing.due() <= time.monotonic() + PATIENCE_S


def test_a_stream_that_runs_dry_goes_before_a_newcomer() -> None:
    playing = Pace()
    playing.sent(0.0)
    assert playing.due() <= Pace().due()
