"""The real server with the engine `cosyvoice` on the small checkpoint, over HTTP."""

import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests import sounds
from tests.http.cosyvoice_gate import GATE
from tests.model import cosyvoice_kit as kit
from tests.model.conftest import small_checkpoint  # noqa: F401 - a fixture
from tests.serving import DEADLINE_S, Server

pytestmark = [pytest.mark.timeout(900)]

VOICE = sounds.prompt(2.1, hertz=220)
OTHER_VOICE = sounds.prompt(2.1, hertz=330)
INSTRUCTION = "用四川话说这句话<|endofprompt|>"


def server_on(folder: Path, checkpoint: Path, *, status: str = "ok", env: Any = None, **model: object) -> Server:
    """A server that is up when its /health says so. model: more of that section."""
    section = {"engine": "cosyvoice", "dir": str(checkpoint), "source_dir": str(kit.library_dir()), **model}
    return Server(
        folder, {"model": section}, {"OMP_NUM_THREADS": "1", **(env or {})}, await_health=status, loads_model=True
    )


@pytest.fixture(scope="module")
def server(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:  # noqa: F811
    with server_on(tmp_path_factory.mktemp("server"), small_checkpoint) as server:
        yield server


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({}, "instruct2"),
        ({"instruction": INSTRUCTION}, "instruct2"),
        ({"instruction": INSTRUCTION, "prompt_wav": VOICE}, "instruct2"),
        ({"prompt_wav": VOICE}, "cross_lingual"),
        ({"prompt_wav": VOICE, "prompt_text": "希望你以后能够做的比我还好呦。"}, "zero_shot"),
    ],
    ids=["text alone", "instruction", "instruction and voice", "voice", "voice and transcript"],
)
def test_the_guides_examples_are_answered_in_their_modes(
    server: Server, tmp_path: Path, fields: dict[str, Any], mode: str
) -> None:
    """As the guide's scripts ask: `requests`, urlencoded without a file and multipart with one, read in pieces."""
    data = {name: value for name, value in fields.items() if name != "prompt_wav"}
    files = {"prompt_wav": io.BytesIO(fields["prompt_wav"])} if "prompt_wav" in fields else None
    url = f"{server.url}/synthesize"
    answer = requests.post(url, data={"text": "你好，世界。", **data}, files=files, stream=True, timeout=DEADLINE_S)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-synthesis-mode"] == mode
    assert answer.headers["content-type"] == "audio/pcm"
    assert answer.headers["x-sample-rate"] == "24000"
    written = tmp_path / "output.wav"
    with written.open("wb") as file:
        for chunk in answer.iter_content(chunk_size=1024):
            file.write(chunk)
    pcm = np.fromfile(written, "<i2")
    # 25 tokens a second, two 50 Hz frames of 480 samples each.
    assert len(pcm)
    assert len(pcm) % 960 == 0
    assert np.abs(pcm.astype(int)).max() > 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_as_in_the_guide(server: Server, tmp_path: Path) -> None:
    (tmp_path / "my_voice.wav").write_bytes(VOICE)
    fields = ("-F", "text=您好,有什么可以帮您?", "-F", f"instruction={INSTRUCTION}", "-F", "prompt_wav=@./my_voice.wav")
    command = ("curl", "-sS", "--fail", "-X", "POST", f"{server.url}/synthesize", *fields, "--output", "output.wav")
    subprocess.run(command, cwd=tmp_path, check=True, timeout=DEADLINE_S)
    assert np.abs(np.fromfile(tmp_path / "output.wav", "<i2").astype(int)).max() > 0


def test_a_seed_gives_the_same_bytes_alone_and_beside_others(server: Server) -> None:
    def speak(seed: int) -> bytes:
        pcm: bytes = server.speak(text="今天天气很好，我们去公园走走吧。", prompt_wav=VOICE, seed=seed).content
        return pcm

    alone = speak(5)
    with ThreadPoolExecutor(3) as clients:
        beside = list(clients.map(speak, (5, 6, 5)))
    assert beside[0] == beside[2] == alone
    assert beside[1] != alone


def test_voices_and_speeds_differ(server: Server) -> None:
    def speak(**fields: Any) -> bytes:
        pcm: bytes = server.speak(text="你好，世界。", seed=2, **fields).content
        return pcm

    plain = speak(prompt_wav=VOICE)
    assert speak(prompt_wav=OTHER_VOICE) != plain
    assert len(speak(prompt_wav=VOICE, speed=2.0)) == len(plain) // 2 // 960 * 960


def test_unspeakable_text_is_the_clients_mistake(server: Server) -> None:
    answer = server.speak(text="……！？", prompt_wav=VOICE)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "unspeakable_text"


def test_health_and_model_info_tell_what_runs(server: Server) -> None:
    engine = {"engine": "cosyvoice", "devices": ["cpu"]}
    assert server.get("/health").json() == {"status": "ok", "model_type": "CosyVoice2", "details": engine}
    (worker,) = server.model_info()["workers"]
    assert worker["details"]["tensorrt"].startswith("off: ")
    assert worker["details"]["precision"] == "fp32"


def test_a_client_that_goes_away_frees_its_stream(server: Server) -> None:
    with server.stream(text=kit.TEXT * 3, prompt_wav=VOICE, seed=3) as answer:
        assert next(answer.iter_raw())
    server.await_idle()


def test_no_ones_words_are_in_the_log(server: Server) -> None:
    assert server.speak(text="悄悄话", prompt_wav=VOICE, seed=1).status_code == 200
    assert "悄悄话" not in server.output()
    assert "悄悄话".encode("unicode_escape").decode() not in server.output()


@pytest.mark.full
def test_the_first_byte_comes_before_the_last_chunk_is_made(
    small_checkpoint: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    # Open while the engine warms up.
    gate.touch()
    engine = "tests.http.cosyvoice_gate:create"
    with server_on(tmp_path, small_checkpoint, env={GATE: str(gate)}, engine=engine) as with_gate:
        gate.unlink()
        with with_gate.stream(text=kit.TEXT, prompt_wav=VOICE, seed=3) as answer:
            pieces = answer.iter_raw()
            first = next(pieces)
            gate.touch()
            rest = b"".join(pieces)
        assert first
        assert len(rest) > 0


def no_library(folder: Path, checkpoint: Path) -> dict[str, str]:
    return {"dir": str(checkpoint), "source_dir": str(folder / "nothing")}


def no_gpu_for_tensorrt(_: Path, checkpoint: Path) -> dict[str, str]:
    return {"dir": str(checkpoint), "tensorrt": "true"}


def with_another(folder: Path, checkpoint: Path, name: str, content: bytes) -> dict[str, str]:
    copy = folder / "model"
    shutil.copytree(checkpoint, copy, copy_function=os.symlink)
    (copy / name).unlink()
    (copy / name).write_bytes(content)
    return {"dir": str(copy)}


def truncated(folder: Path, checkpoint: Path) -> dict[str, str]:
    return with_another(folder, checkpoint, "hift.pt", (checkpoint / "hift.pt").read_bytes()[:1000])


def wrong_yaml(folder: Path, checkpoint: Path) -> dict[str, str]:
    return with_another(folder, checkpoint, "cosyvoice2.yaml", b"sample_rate: 24000\n")


def no_folder(folder: Path, _: Path) -> dict[str, str]:
    return {"dir": str(folder / "gone")}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(no_library, "holds no CosyVoice library: git clone", marks=pytest.mark.full),
        (no_gpu_for_tensorrt, "there is no CUDA GPU"),
        (truncated, "hift.pt is cut short, or not what its name says: delete what is damaged, then"),
        (no_folder, "is missing: pip install modelscope && modelscope download"),
        pytest.param(wrong_yaml, "cannot make sense of", marks=pytest.mark.full),
    ],
)
def test_a_model_that_cannot_load_is_unavailable_with_the_reason(
    small_checkpoint: Path,  # noqa: F811
    tmp_path: Path,
    broken: Any,
    reason: str,
) -> None:
    model = broken(tmp_path, small_checkpoint)
    checkpoint = Path(model.pop("dir"))
    with server_on(tmp_path, checkpoint, status="unavailable", env={"CUDA_VISIBLE_DEVICES": ""}, **model) as server:
        assert server.get("/health").status_code == 503
        (worker,) = server.model_info()["workers"]
        assert reason in worker["reason"]
        assert "\n" not in worker["reason"]
        assert worker["restarts"] == 0, "trying again would not help"
        assert server.speak(text="你好", prompt_wav=VOICE).status_code == 503
