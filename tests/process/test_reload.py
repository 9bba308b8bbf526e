"""SIGHUP: what is read again while streams play on, and that nothing can go wrong with it."""

import signal
from pathlib import Path

import httpx
import pytest

from tests import sounds
from tests.engines import expected_pcm
from tests.serving import Script, Server, wait_for

OLD, NEW = {"Authorization": "Bearer old"}, {"Authorization": "Bearer new"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text("shop:old\n")
    return file


def edit(folder: Path, before: str, after: str) -> None:
    config = folder / "config.toml"
    text = config.read_text(encoding="utf-8")
    assert before in text
    config.write_text(text.replace(before, after), encoding="utf-8")


def reload(server: Server, event: str = "the configuration was reloaded") -> dict[str, object]:
    """SIGHUP, and what the log says to it."""
    before = len(server.logs(event))
    server.signal(signal.SIGHUP)
    return wait_for(lambda: server.logs(event)[before:], event)[0]


def opens(server: Server, key: dict[str, str]) -> bool:
    return server.get("/model_info", headers=key).status_code == 200


def test_keys_change_and_streams_play_on(tmp_path: Path, keys: Path) -> None:
    script = Script(tmp_path, at=1)
    with Server(tmp_path, {"server": {"api_keys_file": str(keys)}}) as server:
        with server.stream(text=script.text, seed=1, headers=OLD) as running:
            keys.write_text("shop:new\nphone:other\n")
            assert reload(server)["keys"] == 2
            assert not opens(server, OLD)
            assert opens(server, NEW)
            script.open_gate()
            assert running.read() == expected_pcm(1, 3)
        assert server.speak(text="hello", headers=NEW).status_code == 200


def test_a_door_that_is_closed_leaves_strangers_the_names_alone(tmp_path: Path) -> None:
    with Server(tmp_path, {"server": {"public_names": True}}) as server:
        answer = server.post("/v1/audio/voices", name="Bob", audio_sample=sounds.prompt(), ref_text="private")
        assert answer.status_code == 201
        assert "private" in server.get("/v1/audio/voices").text
        edit(tmp_path, "[server]", '[server]\napi_keys = ["new"]')
        reload(server)
        for headers, sees in ((NEW, True), ({}, False)):
            listing = server.get("/v1/audio/voices", headers=headers)
            assert listing.status_code == 200
            assert "Bob" in listing.text
            assert ("private" in listing.text) is sees


def test_a_broken_configuration_changes_nothing(tmp_path: Path, keys: Path) -> None:
    with Server(tmp_path, {"server": {"api_keys_file": str(keys)}}) as server:
        for content in ("no colon\n", ""):
            keys.write_text(content)
            told = reload(server, "the configuration was not reloaded")
            assert str(keys) in str(told["reason"])
        keys.write_text("shop:new\n")
        edit(tmp_path, "[server]", "[server]\nprot = 1")
        told = reload(server, "the configuration was not reloaded")
        assert "server.prot is not a setting: did you mean server.port?" in str(told["reason"])
        assert opens(server, OLD)
        edit(tmp_path, "prot = 1", "")
        reload(server)
        assert opens(server, NEW)


def test_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        edit(tmp_path, "[server]", "[server]\nmax_connections = 7\nclient_stall_timeout_s = 9")
        reload(server)
        (told,) = wait_for(
            lambda: [line for line in server.logs() if "at the next start" in line["event"]], "what is not changed"
        )
        assert told["event"].endswith(": server.client_stall_timeout_s, server.max_connections")


def test_the_logs_level_and_the_workers(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.speak(text="hello")
        assert not server.logs("the script begins"), "the worker's, at level debug"
        edit(tmp_path, "[log]", '[log]\nlevel = "debug"')
        assert reload(server)["log_level"] == "debug"
        server.speak(text="hello")
        wait_for(lambda: server.logs("the script begins"), "the worker's line")


def test_voices_that_were_copied_are_there(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.post("/v1/audio/voices", name="Bob", audio_sample=sounds.prompt()).status_code == 201
        (voice,) = (tmp_path / "voices").glob("*.voice")
        away = voice.rename(tmp_path / voice.name)
        assert reload(server)["voices"] == 0
        away.rename(voice)
        assert reload(server)["voices"] == 1


def test_from_the_first_moment_on_it_kills_nothing(tmp_path: Path) -> None:
    with Server(
        tmp_path, await_health="starting", settings={"model": {"engine": "tests.engines:hangs_at_start"}}
    ) as server:
        for _ in range(20):
            server.signal(signal.SIGHUP)
        assert httpx.get(f"{server.url}/health/live", trust_env=False).status_code == 200
