"""Workers killed over and over under load: whole streams are whole, and a hundred deaths leave nothing behind."""

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from threading import Event
from typing import Protocol

import httpx
import pytest

from tests.process.test_many_requests import Figures
from tests.serving import Server, Tables, wait_for

KILLS = 100
CLIENTS = 12
TEXTS = tuple(f"The quick brown fox jumps over the lazy dog, {number} times. " * 4 for number in range(6))


class Asked(Protocol):
    """Whoever speaks: a server, or what stands before several."""

    def speak(self, *, text: str, seed: int) -> httpx.Response:
        """The answer, whole."""

    def stream(self, *, text: str, seed: int) -> AbstractContextManager[httpx.Response]:
        """The answer, from its head on."""


class Crowd:
    """Clients that ask on and on until they are told to go home. Each answer is held against the undisturbed one."""

    def __init__(self, server: Asked, alone: list[bytes]) -> None:
        self._server = server
        self._alone = alone
        self._home = Event()
        self._numbers = count()
        self.whole = 0
        self.broken = 0

    def ask_on(self) -> None:
        """What breaks off is a true beginning; what ends is whole; nothing is refused."""
        while not self._home.is_set():
            number = next(self._numbers) % len(self._alone)
            heard = b""
            try:
                with self._server.stream(text=TEXTS[number], seed=number) as answer:
                    # One that three deaths have met is given up; there is no other failure.
                    if answer.status_code != 200:
                        assert "worker_died" in answer.read().decode()
                        continue
                    for piece in answer.iter_raw():
                        heard += piece
            except httpx.RemoteProtocolError:
                self.broken += 1
                assert self._alone[number].startswith(heard)
            else:
                self.whole += 1
                assert heard == self._alone[number]

    def go_home(self) -> None:
        """After this one."""
        self._home.set()


@contextmanager
def crowd(server: Asked, clients: int) -> Iterator[Crowd]:
    """So many at once; those that found a fault tell it at the end."""
    alone = [server.speak(text=text, seed=number).content for number, text in enumerate(TEXTS)]
    assert all(alone)
    asking = Crowd(server, alone)
    with ThreadPoolExecutor(clients) as threads:
        clients_at_work = [threads.submit(asking.ask_on) for _ in range(clients)]
        try:
            yield asking
        finally:
            asking.go_home()
        for client in clients_at_work:
            client.result()


def kill_one(server: Server, dice: random.Random) -> None:
    """Wait until a worker speaks, kill it, and wait for its replacement."""
    wait_for(lambda: server.model_info()["running"] > 0, "a running stream")
    victim = dice.choice([worker for worker in server.model_info()["workers"] if worker["state"] == "ready"])
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim["pid"], signal.SIGKILL)
    wait_for(lambda: all_ready(server, victim["pid"]), "the replacement", deadline_s=300)


def all_ready(server: Server, dead: int) -> bool:
    workers = server.model_info()["workers"]
    return all(worker["state"] == "ready" and worker["pid"] != dead for worker in workers)


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="the engine demo is not installed")
def test_kills_under_load(tmp_path: Path) -> None:
    settings: Tables = {"model": {"engine": "demo"}, "workers": {"count": 2}, "limits": {"wait_timeout_s": 300}}
    dice = random.Random(KILLS)
    with Server(tmp_path, settings) as server:
        with crowd(server, CLIENTS):
            kill_one(server, dice)
        server.await_idle()
        before = Figures.of(server.pid)
        with crowd(server, CLIENTS) as asking:
            for _ in range(KILLS):
                kill_one(server, dice)
        server.await_idle()
        print(f"{KILLS} kills: {asking.whole} whole, {asking.broken} broken")
        wait_for(lambda: Figures.of(server.pid).is_within(before), "it to hold no more than before")
        info = server.model_info()
        assert (info["running"], info["waiting"], info["buffered_bytes"]) == (0, 0, 0)
        assert [worker["state"] for worker in info["workers"]] == ["ready"] * 2
        assert sum(worker["restarts"] for worker in info["workers"]) == KILLS + 1
        assert server.speak(text=TEXTS[0], seed=0).status_code == 200
