"""The real server with the engine `native` on both models' small checkpoints, over HTTP."""

import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import sounds
from tests.http.sessions import session
from tests.model import cosyvoice_kit as kit
from tests.model.conftest import small_checkpoint, small_checkpoint_3  # noqa: F401 - fixtures
from tests.process.pools import freeze
from tests.serving import Server, Tables, wait_for

pytestmark = [pytest.mark.timeout(600)]

VOICE = sounds.prompt(2.1, hertz=220)
INSTRUCTION = "用四川话说这句话<|endofprompt|>"
FOLDERS = {"CosyVoice2": "small_checkpoint", "CosyVoice3": "small_checkpoint_3"}


def server_on(folder: Path, checkpoint: Path, status: str = "ok", **model: object) -> Server:
    """A server that is up when its /health says so. model: more of that section."""
    section = {"engine": "native", "dir": str(checkpoint), "state_budget_gib": 0.25, **model}
    # A replaced worker loads for a while, on a busy machine.
    settings: Tables = {"model": section, "limits": {"wait_timeout_s": 300, "first_chunk_timeout_s": 300}}
    # On one core sound is the same to the bit, whoever shares the steps.
    env = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return Server(folder, settings, env, await_health=status, loads_model=True)


@pytest.fixture(scope="module", params=list(FOLDERS))
def model(request: pytest.FixtureRequest) -> str:
    """Its name."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def checkpoint(model: str, request: pytest.FixtureRequest) -> Path:
    """Its folder."""
    folder: Path = request.getfixturevalue(FOLDERS[model])
    return folder


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_on(tmp_path_factory.mktemp("server"), checkpoint) as server:
        yield server


def test_it_says_which_model_it_serves(server: Server, model: str) -> None:
    assert server.get("/health").json()["model_type"] == model
    assert server.model_info()["model_type"] == model


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({}, "instruct2"),
        ({"instruction": INSTRUCTION, "prompt_wav": VOICE}, "instruct2"),
        ({"prompt_wav": VOICE}, "cross_lingual"),
        ({"prompt_wav": VOICE, "prompt_text": "希望你以后能够做的比我还好呦。"}, "zero_shot"),
    ],
    ids=["text alone", "instruction and voice", "voice", "voice and transcript"],
)
def test_each_way_of_asking_is_answered_in_its_mode(server: Server, fields: dict[str, Any], mode: str) -> None:
    answer = server.speak(text="你好，世界。", seed=1, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-synthesis-mode"] == mode
    assert answer.headers["x-sample-rate"] == "24000"
    pcm = np.frombuffer(answer.content, "<i2")
    # 25 tokens a second, two 50 Hz frames of 480 samples each.
    assert len(pcm)
    assert len(pcm) % 960 == 0
    assert np.abs(pcm.astype(int)).max() > 0


def test_the_first_byte_comes_before_the_rest_is_made(server: Server) -> None:
    with server.stream(text=kit.TEXT * 4, prompt_wav=VOICE, seed=3) as answer:
        pieces = answer.iter_raw()
        assert next(pieces)
        assert server.model_info()["running"] == 1
        assert len(b"".join(pieces)) > 0


def test_ten_clients_at_once(server: Server) -> None:
    def speak(seed: int) -> bytes:
        answer = server.speak(text="今天天气很好，我们去公园走走吧。", prompt_wav=VOICE, seed=seed)
        assert answer.status_code == 200
        pcm: bytes = answer.content
        return pcm

    alone = speak(5)
    with ThreadPoolExecutor(10) as clients:
        beside = list(clients.map(speak, [5, *range(100, 109)]))
    # Cores are shared out otherwise in company, so sums are rounded otherwise; tokens, and so lengths, are the same.
    assert len(beside[0]) == len(alone)
    assert len(set(map(len, beside))) > 1


def test_a_stored_voice_and_a_session(server: Server) -> None:
    """Both say what a request says that brings the recording."""
    sent = server.speak(text="你好，世界。", prompt_wav=VOICE, seed=1)
    stored = server.post("/v1/audio/voices", name="bob", audio_sample=VOICE)
    assert stored.status_code == 201, stored.text
    assert server.speak(text="你好，世界。", voice="bob", seed=1).content == sent.content
    with session(server) as client:
        client.send("session.config", voice="bob", seed=1)
        client.say("你好，世界。\n", "你好，世界。\n")
        heard = client.until("session.done")
    assert [*heard.audio.values()] == [sent.content] * 2
    assert server.delete("/v1/audio/voices/bob").status_code == 200


def test_a_client_that_goes_away_frees_its_stream(server: Server) -> None:
    with server.stream(text=kit.TEXT * 3, prompt_wav=VOICE, seed=3) as answer:
        assert next(answer.iter_raw())
    server.await_idle()


def test_no_ones_words_are_in_the_log(server: Server) -> None:
    assert server.speak(text="悄悄话", prompt_wav=VOICE, seed=1).status_code == 200
    assert "悄悄话" not in server.output()
    assert "悄悄话".encode("unicode_escape").decode() not in server.output()


def test_unspeakable_text_is_the_clients_mistake(server: Server) -> None:
    answer = server.speak(text="٪٪1️⃣"[:2], prompt_wav=VOICE)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "unspeakable_text"


@pytest.mark.full
def test_a_killed_worker_is_replaced_and_what_was_not_heard_is_said_again(server: Server) -> None:
    (worker,) = server.model_info()["workers"]
    with ThreadPoolExecutor(4) as clients:
        jobs = [clients.submit(server.speak, text=kit.TEXT, prompt_wav=VOICE, seed=seed) for seed in range(4)]
        wait_for(lambda: server.model_info()["running"] == 4, "four streams")
        os.kill(worker["pid"], signal.SIGKILL)
        # Those that were heard are broken; the rest is whole.
        answers = [job for job in jobs if job.exception(300) is None]
    assert all(job.result().status_code == 200 for job in answers)
    assert server.speak(text="你好", prompt_wav=VOICE).status_code == 200


@pytest.mark.full
@pytest.mark.parametrize("folder", ["small_checkpoint", "small_checkpoint_3"])
def test_a_full_line_is_served_by_the_replacement(request: pytest.FixtureRequest, tmp_path: Path, folder: str) -> None:
    """Thirteen requests for the only worker, which is killed before any has sounded: ten on it, three in line."""
    checkpoint = request.getfixturevalue(folder)
    with server_on(tmp_path, checkpoint) as server, ThreadPoolExecutor(13) as clients:
        (victim,) = server.model_info()["workers"]
        # Held, so that nothing has sounded when it is killed.
        freeze(victim["pid"])
        jobs = [clients.submit(server.speak, text="你好，世界。", prompt_wav=VOICE, seed=seed) for seed in range(13)]
        wait_for(lambda: (info := server.model_info())["running"] + info["waiting"] == 13, "all thirteen")
        os.kill(victim["pid"], signal.SIGKILL)
        answers = [job.result(300) for job in jobs]
        assert [answer.status_code for answer in answers] == [200] * 13
        alone = server.speak(text="你好，世界。", prompt_wav=VOICE, seed=3)
        assert len(answers[3].content) == len(alone.content)
        (worker,) = server.model_info()["workers"]
        assert (worker["state"], worker["restarts"]) == ("ready", 1)
        first, second = (line["details"] for line in server.logs("worker ready"))
        assert second == worker["details"]
        # Of what is free at the time.
        assert {**first, "memory": ""} == {**second, "memory": ""}


def test_a_model_that_cannot_load_is_unavailable_with_the_reason(
    small_checkpoint: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(small_checkpoint, model, copy_function=os.symlink)
    (model / "hift.pt").unlink()
    (model / "hift.pt").write_bytes((small_checkpoint / "hift.pt").read_bytes()[:1000])
    with server_on(tmp_path, model, status="unavailable") as server:
        assert server.get("/health").status_code == 503
        (worker,) = server.model_info()["workers"]
        assert "hift.pt is cut short" in worker["reason"]
        assert worker["restarts"] == 0, "trying again would not help"
