"""Two servers with one store of voices, each killed with -9 at random while voices come in by both."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import sounds
from tests.http.test_contract import request_seen
from tests.http.test_voices import VOICES
from tests.http.wire import check_error
from tests.s3 import S3
from tests.serving import Script, Server, free_port, wait_for

NewServer = Callable[[str], Server]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with S3(tmp_path_factory.mktemp("s3")) as service:
        yield service


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.full)])
def new_server(request: pytest.FixtureRequest, tmp_path: Path) -> NewServer:
    """Makes servers, by their names, with the same store."""
    voices: dict[str, Any] = {"dir": str(tmp_path / "voices")}
    env = {}
    if request.param == "bucket":
        s3: S3 = request.getfixturevalue("s3")
        env, voices["url"] = s3.env, f"{s3.make_bucket(tmp_path.name.replace('_', '-')[-40:].strip('-'))}/kept"

    def make(name: str) -> Server:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        own = {} if "url" not in voices else {"dir": str(folder / "copies")}
        # The same port at each start.
        return Server(folder, {"server": {"port": free_port()}, "voices": {**voices, **own}}, env)

    return make


def audio(number: int) -> bytes:
    """A recording of its own for each voice, large enough to be torn."""
    return sounds.prompt(seconds=1.5, rate=48_000, hertz=200 + number)


def names(server: Server) -> list[str]:
    listed: list[str] = server.get(VOICES).json()["names"][1:]
    return listed


def post(server: Server, name: str, content: bytes) -> httpx.Response | None:
    """Store a voice; None where there was no answer."""
    try:
        return server.post(VOICES, name=name, ref_text=name, audio_sample=content)
    except httpx.TransportError:
        return None


@pytest.mark.parametrize("voices", [12, pytest.param(200, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
def test_two_servers(new_server: NewServer, tmp_path: Path, voices: int) -> None:
    """What one does, the other sees; then either is killed at random while voices come in."""
    with ExitStack() as running:
        servers = [running.enter_context(new_server(name)) for name in ("one", "two")]
        check_sight(servers, tmp_path)
        acknowledged = store_and_kill(servers, voices, kills=max(1, voices // 20))
        everybody = sorted(f"voice-{number}" for number in range(voices))
        assert all(len(contents) == 1 for contents in acknowledged.values())
        for server in servers:
            wait_for(lambda server=server: names(server) == everybody, "the voices to be listed")  # type: ignore[misc]
        check_audio(servers, everybody, acknowledged)
    assert not list(tmp_path.rglob("*.part"))


def check_sight(servers: list[Server], folder: Path) -> None:
    """A name that is not known is found at once, one that is taken is taken for both, and what is replaced is new."""
    one, two = servers
    assert post(one, "Bob", audio(1)) is not None
    script = Script(folder, "first")
    assert two.speak(text=script.text, voice="bob").status_code == 200
    assert request_seen(script)["prompt_samples"] == 72_000
    again = post(two, "BOB", audio(2))
    assert again is not None
    check_error(again, 409, "voice_exists", "name")
    assert two.delete(f"{VOICES}/bob").status_code == 200
    longer = sounds.prompt(seconds=2, rate=48_000)
    assert (stored := post(two, "bob", longer)) is not None
    assert stored.status_code == 201
    wait_for(lambda: one.get(f"{VOICES}/bob/audio").content == longer, "the new recording")
    script = Script(folder, "second")
    assert one.speak(text=script.text, voice="bob").status_code == 200
    assert request_seen(script)["prompt_samples"] == 96_000
    assert one.delete(f"{VOICES}/bob").status_code == 200
    wait_for(lambda: names(two) == [], "the voice to be gone")


def store_and_kill(servers: list[Server], voices: int, kills: int) -> dict[str, list[bytes]]:
    """Each voice is sent to both at once, again and again, until one has it. Returns what was acknowledged, by name."""
    chance = random.Random(voices)
    acknowledged: dict[str, list[bytes]] = {}

    def store(number: int, place: int) -> None:
        name, content = f"voice-{number}", audio(2 * number + place)
        answer = wait_for(lambda: post(servers[place], name, content), "an answer", poll_s=0.2)
        assert answer is not None
        if answer.status_code == 201:
            acknowledged.setdefault(name, []).append(content)
        else:
            check_error(answer, 409, "voice_exists", "name")

    with ThreadPoolExecutor(8) as threads:
        uploads = [threads.submit(store, number, place) for number in range(voices) for place in (0, 1)]
        for kill in range(kills):
            due = (kill + 1) * voices // (kills + 1)
            wait_for(lambda due=due: len(acknowledged) >= due, f"{due} voices")  # type: ignore[misc]
            victim = servers[chance.randrange(2)]
            victim.signal(9)
            victim.wait_exit()
            victim.start()
        for upload in uploads:
            upload.result()
    return acknowledged


def check_audio(servers: list[Server], everybody: list[str], acknowledged: dict[str, list[bytes]]) -> None:
    """Both give the same, and what was acknowledged where it was."""
    for name in everybody:
        one, two = (server.get(f"{VOICES}/{name}/audio").content for server in servers)
        number = int(name.partition("-")[2])
        assert one == two
        assert one in (acknowledged.get(name) or [audio(2 * number), audio(2 * number + 1)])


def test_a_store_that_is_away(tmp_path: Path) -> None:
    """What was read before is spoken on; all else says what is the matter, and is heard again when it is back."""

    settings = {"voices": {"url": "s3://comes-late", "dir": str(tmp_path / "copies"), "max_cached_bytes": 0}}
    with S3(tmp_path) as service:
        service.make_bucket("comes-late")
        with Server(tmp_path, settings, service.env, watch_steps=True) as server:
            assert post(server, "bob", audio(1)) is not None
            service.freeze()
            assert server.speak(text="hello", voice="bob").status_code == 200
            assert server.speak(text="hello", voice="alloy").status_code == 200
            service.stop()
            assert server.speak(text="hello", voice="bob").status_code == 200
            assert server.speak(text="hello", voice="alloy").status_code == 200
            refused = server.speak(text="hello", voice="alice")
            check_error(refused, 503, "voices_unreachable")
            assert refused.headers["retry-after"] == "5"
            check_error(server.delete(f"{VOICES}/bob"), 503, "voices_unreachable")
            assert names(server) == ["bob"]
            (told,) = server.logs("the store of the voices cannot be reached")
            assert told["place"] == "s3://comes-late"
            with S3(tmp_path, service.port) as returned:
                returned.make_bucket("comes-late")
                wait_for(lambda: names(server) == [], "what the new service has")
                answer = post(server, "bob", audio(2))
                assert answer is not None
                assert answer.status_code == 201
