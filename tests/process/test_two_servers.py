"""Two servers behind nginx, upgraded one after the other under load: every stream is whole, and none is refused."""

import shutil
from contextlib import AbstractContextManager, ExitStack
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.nginx import nginx
from tests.process.test_many_kills import TEXTS, Crowd, crowd
from tests.serving import DEADLINE_S, Server, Tables, free_port, wait_for

CLIENTS = 6


class Balancer:
    """What clients see of both: each request on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/synthesize"

    def speak(self, *, text: str, seed: int) -> httpx.Response:
        return httpx.post(self._url, data=_form(text, seed), timeout=DEADLINE_S, trust_env=False)

    def stream(self, *, text: str, seed: int) -> AbstractContextManager[httpx.Response]:
        return httpx.stream("POST", self._url, data=_form(text, seed), timeout=DEADLINE_S, trust_env=False)


def _form(text: str, seed: int) -> dict[str, str]:
    return {"text": text, "seed": str(seed)}


def version(folder: Path, number: int, port: int) -> Server:
    """A server of that version: two streams in the first, four in the second."""
    settings: Tables = {
        "server": {"port": port, "shutdown_grace_s": 60},
        "model": {"engine": "demo", "streams": 2 * number},
        "limits": {"wait_timeout_s": 60},
    }
    (own := folder / f"{port}-{number}").mkdir()
    return Server(own, settings)


def await_streams(asking: Crowd) -> None:
    """Wait until as many were whole as clients are."""
    before = asking.whole
    wait_for(lambda: asking.whole > before + CLIENTS, "streams that began by now")


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="the engine demo is not installed")
def test_one_after_the_other_is_upgraded(tmp_path: Path) -> None:
    ports, front = [free_port(), free_port()], free_port()
    with ExitStack() as running:
        servers = [running.enter_context(version(tmp_path, 1, port)) for port in ports]
        running.enter_context(nginx(tmp_path, front, *ports))
        with crowd(Balancer(front), CLIENTS) as asking:
            for old, port in zip(servers, ports, strict=True):
                await_streams(asking)
                wait_for(lambda: old.model_info()["running"], "a stream on the one that goes")  # noqa: B023
                old.terminate()
                await_streams(asking)
                assert old.wait_exit() == 0
                new = running.enter_context(version(tmp_path, 2, port))
                wait_for(lambda: new.model_info()["running"], "a stream on the one that came")  # noqa: B023
        assert asking.broken == 0
        print(f"two upgrades behind nginx: {asking.whole} streams whole, none broken or refused")
        assert all("cut off" not in line["event"] for old in servers for line in old.logs())
        assert Balancer(front).speak(text=TEXTS[0], seed=0).status_code == 200
