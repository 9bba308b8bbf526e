"""The engine `native` killed over and over under load, on the small checkpoint: what is whole is what it was."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.http.test_native_server import FOLDERS, VOICE, server_on
from tests.model import cosyvoice_kit as kit
from tests.model.conftest import small_checkpoint, small_checkpoint_3  # noqa: F401 - fixtures
from tests.process.pools import freeze
from tests.process.test_many_requests import Figures
from tests.serving import LOADING_S, Server, wait_for

KILLS = 60
SEEDS = range(4)
ALIKE = 0.999
"""A sum that a new process rounds otherwise is amplified by random weights (docs/native.md); another token, or another
seed, is another sound altogether.
"""
UNSENT = "你好，世界。"


def heard(server: Server, seed: int) -> bytes | None:
    """One stream; None where it broke off."""
    try:
        answer = server.speak(text=kit.TEXT, prompt_wav=VOICE, seed=seed)
    except httpx.RemoteProtocolError:
        return None
    assert answer.status_code == 200, answer.text
    return answer.content


def replaced(server: Server, victim: int) -> bool:
    (worker,) = server.model_info()["workers"]
    return (worker["state"], worker["pid"] == victim) == ("ready", False)


def kill_under_load(server: Server, alone: list[bytes], frozen: bool) -> int:
    """Kill the only worker under four streams. Returns how many were whole. frozen: before any has sounded."""
    (victim,) = server.worker_pids()
    if frozen:
        freeze(victim)
    with ThreadPoolExecutor(len(SEEDS)) as clients:
        jobs = [clients.submit(heard, server, seed) for seed in SEEDS]
        wait_for(lambda: (info := server.model_info())["running"] + info["waiting"] == len(SEEDS), "four streams")
        os.kill(victim, signal.SIGKILL)
        answers = [job.result(LOADING_S) for job in jobs]
    wait_for(lambda: replaced(server, victim), "the replacement", LOADING_S, 0.1)
    for answer, expected in zip(answers, alone, strict=True):
        assert answer is None or likeness(answer, expected) >= ALIKE
    return sum(answer is not None for answer in answers)


def likeness(one: bytes, other: bytes) -> float:
    """The correlation of two sounds of the same length: 1 where they are the same to the byte."""
    if one == other:
        return 1.0
    assert len(one) == len(other)
    likeness = float(np.corrcoef(np.frombuffer(one, "<i2"), np.frombuffer(other, "<i2"))[0, 1])
    print(f"not the same to the byte: correlation {likeness:.6f}")
    return likeness


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_kills_under_load(request: pytest.FixtureRequest, tmp_path: Path, folder: str) -> None:
    with server_on(tmp_path, request.getfixturevalue(folder)) as server:
        alone = [heard(server, seed) or b"" for seed in SEEDS]
        kill_under_load(server, alone, frozen=True)
        before = Figures.of(server.pid)
        whole = []
        for number in range(KILLS):
            frozen = number % 2 == 0
            whole.append(kill_under_load(server, alone, frozen))
            # Nothing of theirs had been sent: all are said again.
            assert not frozen or whole[-1] == len(SEEDS)
        server.await_idle()
        print(f"{KILLS} kills: {sum(whole)} of {KILLS * len(SEEDS)} streams whole")
        wait_for(lambda: Figures.of(server.pid).is_within(before), "it to hold no more than before")
        assert server.model_info()["buffered_bytes"] == 0
        assert server.speak(text=UNSENT, prompt_wav=VOICE).status_code == 200
