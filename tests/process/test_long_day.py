"""Ten thousand requests: after the first two thousand the front end's memory has its size, and keeps it."""

import random
import statistics
from pathlib import Path

import psutil
import pytest

from tests.process.test_many_requests import request
from tests.serving import Server, wait_for

MIB = 2**20
READINGS = 5
SPARE_MIB = 8.0
SPARE_SHARE = 0.02


def resident_mib(server: Server) -> float:
    """The front end's, idle: the median of five readings, each after an answer."""
    server.await_idle()
    process = psutil.Process(server.pid)
    wait_for(lambda: len(process.net_connections()) == 1, "every connection to be closed")
    readings = []
    for _ in range(READINGS):
        assert server.get("/metrics").status_code == 200
        readings.append(process.memory_info().rss / MIB)
    return statistics.median(readings)


@pytest.mark.parametrize(
    ("settling", "requests"),
    [pytest.param(2_000, 10_000, marks=[pytest.mark.full, pytest.mark.timeout(7200)])],
)
def test_memory_has_its_size_after_the_first_requests(settling: int, requests: int, tmp_path: Path) -> None:
    """One in five goes away in the middle."""
    dice = random.Random(requests)
    sizes = {}
    with Server(tmp_path) as server:
        for number in range(requests + 1):
            if number % (settling // 2) == 0:
                sizes[number] = resident_mib(server)
            request(server, dice, tmp_path, number)
        print(f"resident MiB by requests: { {number: round(size, 1) for number, size in sizes.items()} }")
    settled, end = sizes[settling], sizes[requests]
    assert end - settled <= max(SPARE_MIB, SPARE_SHARE * settled), sizes
