"""How many connections the limit of open files leaves room for."""

import resource
from pathlib import Path

import pytest

from cosyserve.http.transport.descriptors import PER_WORKER, SPARE, room_for_connections

OPEN = len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.parametrize("workers", [1, 8])
def test_each_may_have_a_file_and_the_rest_is_left_alone(workers: int) -> None:
    room = room_for_connections(65_536, workers)
    assert 65_536 - 2 * room >= workers * PER_WORKER + SPARE
    assert room > 32_000


def test_there_is_always_room_for_one() -> None:
    assert room_for_connections(OPEN, 8) == 1


def test_no_limit() -> None:
    assert room_for_connections(resource.RLIM_INFINITY, 1) > 1_000_000
