"""Reload after reload under load: no stream breaks, none is refused, and nothing is left behind."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import pytest

from tests.process.test_many_kills import CLIENTS, TEXTS, crowd
from tests.process.test_many_requests import Figures
from tests.reloading import reload_with
from tests.serving import Server, Tables, wait_for

RELOADS = 20
BASE: Tables = {"model": {"engine": "demo"}, "workers": {"count": 2}, "limits": {"wait_timeout_s": 300}}
CHANGES: tuple[Tables, ...] = (
    {"limits": {"wait_timeout_s": 300, "max_waiting": 90}},
    {"model": {"engine": "demo", "streams": 6}},
    {"workers": {"count": 1}},
    {"defaults": {"instruction": "Speak low."}, "log": {"level": "debug"}},
    {"workers": {"count": 3}, "server": {"keep_alive_s": 9}},
    {"workers": {"count": 2, "handover": "in_turn"}, "model": {"engine": "demo", "streams": 4}},
)
INVALID: Tables = {"limits": {"max_wating": 3}}
CANNOT_START: Tables = {"model": {"engine": "tests.engines:exits_at_start"}}


def outcomes(server: Server) -> set[str]:
    """How requests for speech have ended so far."""
    return set(
        re.findall(r'^cosyserve_speech_requests_total\{.*outcome="(\w+)"', server.get("/metrics").text, re.MULTILINE)
    )


def several(number: int) -> Iterator[tuple[Tables, bool]]:
    """So many reloads and whether each is to be taken: one is invalid, and of many one cannot start."""
    changes = cycle(CHANGES)
    for turn in range(number):
        if turn in {number // 2, number - 2}:
            yield (INVALID if turn == number // 2 else CANNOT_START), False
        else:
            yield next(changes), True


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="the engine demo is not installed")
def test_reloads_under_load(tmp_path: Path) -> None:
    with Server(tmp_path, BASE) as server:
        with crowd(server, CLIENTS):
            wait_for(lambda: server.model_info()["running"] > 2, "a first crowd")
        server.await_idle()
        before = Figures.of(server.pid)
        taken = 0
        with crowd(server, CLIENTS) as asking:
            for settings, is_taken in several(RELOADS):
                heard = asking.whole
                pids = server.worker_pids()
                told = reload_with(server, settings)
                assert (told.status == 0) is is_taken, told.says
                taken += is_taken
                if not is_taken:
                    assert set(server.worker_pids()) & set(pids), "the old ones serve on"
                assert server.model_info()["generation"] == 1 + taken
                wait_for(lambda: asking.whole > heard + CLIENTS, "streams that began after it")  # noqa: B023
        assert asking.broken == 0
        assert outcomes(server) == {"ok"}
        print(f"{RELOADS} reloads: {asking.whole} streams whole, none broken or refused")
        server.await_idle()
        assert reload_with(server, BASE).status == 0
        wait_for(lambda: Figures.of(server.pid).is_within(before), "it to hold no more than before")
        assert server.speak(text=TEXTS[0], seed=0).status_code == 200
        lost, served = ({line["worker"] for line in server.logs(f"worker {what}")} for what in ("lost", "ready"))
        assert lost, "those that could not start, and nobody else"
        assert not lost & served
