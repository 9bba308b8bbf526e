"""Work side by side: the order of results, the threads each part gets, and what a part raises."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from cosyserve_workers.native.lanes import Lanes, on_a_passing_thread, using_threads  # noqa: E402

ROOT = Path(__file__).parents[3]
SPEAK = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
import torch
from cosyserve.protocol import EngineConfig, Prompt
from cosyserve_workers.native.loading import create
from tests.model import cosyvoice_kit as kit

def unknown():
    print(len(os.listdir("/proc/self/task")) - threading.active_count())

def say(skipped):
    voice = Prompt(kit.request().prompt.samples[skipped:], 16_000, str(skipped))
    sound = kit.whole(engine.stream(kit.request(text="你好。", prompt=voice), lambda: False))
    meet.wait()
    return len(sound)

torch.set_num_threads(2)  # PyTorch then makes a pool of its own, which nothing here uses
unknown()
engine = create(EngineConfig("native", sys.argv[1], state_budget_gib=0.1))
unknown()
meet = threading.Barrier(1)
say(0)
unknown()
meet = threading.Barrier(3)
with ThreadPoolExecutor(3) as pool:
    assert all(pool.map(say, (900, 1800, 2700)))
    unknown()
engine.close()
"""


@pytest.fixture(autouse=True)
def six_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


def where(items: Sequence[int]) -> list[tuple[int, str, int]]:
    return [(item, threading.current_thread().name, torch.get_num_threads()) for item in items]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("items", [1, 2, 5])
def test_results_come_in_order_and_threads_are_shared_out(count: int, items: int) -> None:
    done = Lanes(count).run(where, list(range(items)))
    assert [item for item, _, _ in done] == list(range(items))
    lanes = min(count, items)
    if lanes == 1:
        assert {name for _, name, _ in done} == {threading.current_thread().name}
    assert {threads for _, _, threads in done} == {6 // lanes}
    assert torch.get_num_threads() == 6, "the caller keeps its own"


def test_the_lanes_run_at_the_same_time() -> None:
    meet = threading.Barrier(3, timeout=60)
    Lanes(3).run(lambda items: [meet.wait() for _ in items], [0, 1, 2])


def test_what_a_part_raises_is_raised_when_all_parts_have_ended() -> None:
    raised, ended = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int]:
        if items[0] == 0:
            raised.set()
            raise ArithmeticError("lane 0")
        assert raised.wait(60)
        ended.set()
        return list(items)

    with pytest.raises(ArithmeticError):
        Lanes(2).run(work, [0, 1])
    assert ended.is_set()


def test_a_part_shares_out_what_it_was_given() -> None:
    lanes = Lanes(6)

    def outer(items: Sequence[int]) -> list[list[tuple[int, str, int]]]:
        return [lanes.run(where, [item, item]) for item in items]

    done = lanes.run(outer, [0, 1])
    assert [[item for item, _, _ in inner] for inner in done] == [[0, 0], [1, 1]]
    assert {threads for inner in done for _, _, threads in inner} == {1}


def test_a_passing_thread_has_the_callers_threads_and_ends() -> None:
    with using_threads(3):
        ((_, name, threads),) = on_a_passing_thread(lambda: where([0]))
    assert threads == 3
    assert name not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ArithmeticError):
        on_a_passing_thread(lambda: exec("raise ArithmeticError"))


@pytest.mark.full
def test_no_thread_but_the_networks_own_has_helpers(small_checkpoint: Path) -> None:
    """Threads that Python does not know, in a process that loads, speaks, and speaks three new voices at once."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", SPEAK, str(small_checkpoint)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found = [int(line) for line in done.stdout.splitlines() if line.isdecimal()]
    # Loading brings one of the speech tokenizer's, speaking one of the networks'.
    assert [after - before for before, after in pairwise(found)] == [1, 1, 0]
