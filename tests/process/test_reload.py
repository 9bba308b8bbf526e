"""SIGHUP and `cosyserve reload`: what is read again while streams play on, and that nothing can go wrong with it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from cosyserve.wire.control import RELOAD, Control
from tests import sounds
from tests.engines import expected_pcm
from tests.reloading import reload_with
from tests.serving import DEADLINE_S, ROOT, Script, Server, Tables, wait_for

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


def test_what_cannot_change_is_named_and_nothing_changes(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        settings: Tables = {
            "server": {"port": 1, "host": "127.0.0.2"},
            "limits": {"max_text_chars": 3},
            "voices": {"dir": str(tmp_path / "others")},
        }
        told = reload_with(server, settings)
        assert told.status == 1
        for name in ("server.host", "server.port", "voices.dir"):
            assert f"{name} cannot change while the server runs" in told.says
        assert "limits.max_text_chars" not in told.says
        assert server.speak(text="hello").status_code == 200
        assert server.model_info()["generation"] == 1


def test_limits_and_defaults_hold_at_once(tmp_path: Path) -> None:
    script = Script(tmp_path, at=1)
    with Server(tmp_path) as server, server.stream(text=script.text, seed=1) as running:
        (pid,) = server.worker_pids()
        told = reload_with(
            server,
            {
                "limits": {"max_text_chars": 9, "max_pending_bytes": "70KiB"},
                "defaults": {"instruction": "Speak low."},
                "server": {"cors_origins": ["https://app.example.com"]},
                "websocket": {"max_connections": 0},
            },
        )
        assert told.status == 0
        assert "generation 2" in told.says
        assert "workers: unchanged" in told.says
        changed = next(line for line in told.says.splitlines() if line.startswith("changed: "))
        assert changed == (
            "changed: defaults.instruction, limits.max_pending_bytes, limits.max_text_chars, server.cors_origins, "
            "websocket.max_connections"
        )
        assert server.speak(text="more than nine").json()["error"]["code"] == "text_too_long"
        assert server.speak(text="hello", prompt_wav=sounds.prompt()).status_code == 413
        page = {"Origin": "https://app.example.com"}
        assert server.get("/health", headers=page).headers["access-control-allow-origin"] == page["Origin"]
        info = server.model_info()
        assert (info["default_instruction"], info["generation"]) == ("Speak low.", 2)
        assert server.worker_pids() == [pid]
        assert "cosyserve_generation 2.0" in server.get("/metrics").text
        script.open_gate()
        assert running.read() == expected_pcm(1, 3)


def test_the_command_line_stays_in_force_and_reloads_take_turns(tmp_path: Path) -> None:
    flags, env = ("--workers", "1"), {"COSYSERVE_LIMITS__MAX_TEXT_CHARS": "20"}
    with Server(tmp_path, flags=flags, env=env) as server, ThreadPoolExecutor(4) as threads:
        told = reload_with(server, {"workers": {"count": 3}, "limits": {"max_text_chars": 3}})
        assert told.status == 0
        assert "changed: no setting" in told.says
        assert len(server.worker_pids()) == 1
        assert server.speak(text="hello").status_code == 200
        assert [answer["taken"] for answer in threads.map(lambda _: ask(server), range(4))] == [True] * 4
        assert server.model_info()["generation"] == 6


@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="the engine demo is not installed")
def test_a_word_of_the_lexicon_is_said_anew(tmp_path: Path) -> None:
    """By the workers that run, and by the helper that tells what would be said."""
    lexicon = tmp_path / "lexicon.toml"
    lexicon.write_text('["*"]\nnginx = "banana"\n')
    settings: Tables = {"model": {"engine": "demo"}, "text": {"lexicon": str(lexicon), "language": "en"}}
    with Server(tmp_path, settings) as server:
        before = server.speak(text="nginx").content
        assert before == server.speak(text="banana").content
        (pid,) = server.worker_pids()
        lexicon.write_text('["*"]\nnginx = "engine x"\n')
        assert reload_with(server, {}).status == 0
        assert wait_for(lambda: (now := server.speak(text="nginx").content) != before and now, "the new word") == (
            server.speak(text="engine x").content
        )
        words = httpx.post(f"{server.url}/v1/text/words", json={"text": "nginx"}, trust_env=False).json()
        assert [segment["text"] for segment in words["segments"]] == ["engine x"]
        lexicon.write_text("no lexicon")
        assert "text.lexicon cannot be read" in reload_with(server, {}).says
        assert server.worker_pids() == [pid]


def ask(server: Server) -> dict[str, Any]:
    """The last line of the answer, by the socket itself: the command prints, which threads cannot do apart."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(DEADLINE_S)
        asking.connect(Control(server.pid, server.port).address)
        asking.sendall(RELOAD)
        with asking.makefile("rb") as answer:
            last: dict[str, Any] = json.loads(answer.readlines()[-1])
    return last


def test_the_command_finds_the_server_and_nobody_else_does(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        address = Control(server.pid, server.port).address
        for said in (b"RELOAD\n", b"\0" * 70_000):
            assert b"understands" in answer_to(address, said)
        if os.geteuid() == 0:
            assert b"another user's" in answer_to_nobody(address)
        assert server.model_info()["generation"] == 1

        command = [sys.executable, "-m", "cosyserve", "reload", "--port", str(server.port)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "generation 2")
        server.configure({"server": {"port": 1}})
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("cosyserve reload: refused, and nothing has changed: server.port")


def answer_to(address: str, said: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(DEADLINE_S)
        asking.connect(address)
        # Who is refused may be hung up on.
        with contextlib.suppress(BrokenPipeError):
            asking.sendall(said)
        return asking.recv(4096)


def answer_to_nobody(address: str) -> bytes:
    """Asked by another user: in a fork in which nothing has to be imported, since nobody may read our files."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # From 3.12 on it warns of threads: none of them is needed in the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os.setuid(65534)
        os.write(writer, answer_to(address, RELOAD))
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as answer:
        return answer.read()


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
