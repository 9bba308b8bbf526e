"""What existing clients do, call for call, against real speech: their `requests` scripts and curl commands."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import sounds
from tests.serving import DEADLINE_S, Server

pytest.importorskip("espeakng_loader", reason="the engine demo is not installed")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

CLERK = "你是一位专业的客服人员,语气亲切。<|endofprompt|>"
SAVE = """
if response.status_code != 200:
    raise SystemExit(f"{response.status_code}: {response.text}")
with open("output.wav", "wb") as file:
    for chunk in response.iter_content(chunk_size=1024):
        if chunk:
            file.write(chunk)
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the shipped voice, which a configuration far from the checkout finds too."""
    settings = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": "asset/zero_shot_prompt.wav"}}
    with Server(tmp_path_factory.mktemp("demo"), settings) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a client runs: its voice is there."""
    (tmp_path / "my_voice.wav").write_bytes(sounds.prompt(4, 22_050))
    return tmp_path


def run_python(demo: Server, folder: Path, script: str) -> str:
    """Run a client's script. Returns what it printed."""
    whole = f"import requests\nurl = {demo.url + '/synthesize'!r}\n{script}"
    return run(folder, sys.executable, "-c", whole)


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_speech(folder: Path) -> None:
    """The file is raw PCM of a voice: longer than a word, and neither silent nor clipped noise."""
    pcm = (folder / "output.wav").read_bytes()
    assert not pcm.startswith((b"RIFF", b"{"))
    samples = np.frombuffer(pcm, "<i2").astype(float)
    assert len(samples) > 24_000 / 2
    assert 300 < np.sqrt(np.mean(samples**2)) < 15_000


class TestRequests:
    @pytest.mark.parametrize("text", ["您好,请问需要什么?", "今天有新到的茶。", "Good morning!"])
    def test_text_alone(self, demo: Server, folder: Path, text: str) -> None:
        run_python(demo, folder, f"response = requests.post(url, data={{'text': {text!r}}}, stream=True){SAVE}")
        check_speech(folder)

    def test_instruction(self, demo: Server, folder: Path) -> None:
        data = {"text": "以上就是今天的天气。", "instruction": "你是一位新闻主播,声音平稳。<|endofprompt|>"}
        run_python(demo, folder, f"response = requests.post(url, data={data!r}, stream=True){SAVE}")
        check_speech(folder)

    @pytest.mark.parametrize(
        ("data", "mode"),
        [
            ({"text": "我们会尽快回复您。", "instruction": CLERK}, "instruct2"),
            ({"text": "出发,去看海!"}, "cross_lingual"),
            ({"text": "出发,去看海!", "prompt_text": "希望你以后能够做得更好。"}, "zero_shot"),
        ],
    )
    def test_own_voice(self, demo: Server, folder: Path, data: dict[str, str], mode: str) -> None:
        said = run_python(
            demo,
            folder,
            f"files = {{'prompt_wav': open('./my_voice.wav', 'rb')}}\n"
            f"response = requests.post(url, data={data!r}, files=files, stream=True)\n"
            f"print(response.headers['X-Synthesis-Mode']){SAVE}",
        )
        assert said.strip() == mode
        check_speech(folder)

    def test_health(self, demo: Server, folder: Path) -> None:
        said = run_python(demo, folder, f"print(requests.get({demo.url + '/health'!r}).json())")
        # What the guide shows comes first; what more there is stands behind it.
        assert said.startswith("{'status': 'ok', 'model_type': 'demo', 'details': {")

    def test_model_info(self, demo: Server, folder: Path) -> None:
        said = run_python(demo, folder, f"print(requests.get({demo.url + '/model_info'!r}).json()['endpoint'])")
        assert said.strip() == "/synthesize"
        assert demo.model_info()["model_dir"] is None


@needs_curl
class TestCurl:
    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param(["-F", "text=您好,请问需要什么?"], id="text"),
            pytest.param(
                ["-F", "text=外面下雪了", "-F", "instruction=你是一位活泼的主持人。<|endofprompt|>"], id="mood"
            ),
            pytest.param(
                ["-F", "text=请问有什么可以帮您?", "-F", f"instruction={CLERK}", "-F", "prompt_wav=@./my_voice.wav"],
                id="mood and voice",
            ),
            pytest.param(["-F", "text=出发,去看海!", "-F", "prompt_wav=@./my_voice.wav"], id="voice"),
            pytest.param(["-d", "text=请进,请坐。"], id="urlencoded"),
        ],
    )
    def test_speech(self, demo: Server, folder: Path, fields: list[str]) -> None:
        run(folder, "curl", "-sS", "--fail", "-X", "POST", f"{demo.url}/synthesize", *fields, "--output", "output.wav")
        check_speech(folder)

    @pytest.mark.parametrize("path", ["/health", "/model_info"])
    def test_state(self, demo: Server, folder: Path, path: str) -> None:
        assert '"model_type":"demo"' in run(folder, "curl", "-sS", "--fail", f"{demo.url}{path}")

    def test_too_large_an_upload_is_told(self, demo: Server, folder: Path) -> None:
        (folder / "large.wav").write_bytes(bytes(40_000_000))
        fields = ("-F", "text=hello", "-F", "prompt_wav=@large.wav")
        assert "upload_too_large" in run(folder, "curl", "-sS", f"{demo.url}/synthesize", *fields)


@pytest.mark.parametrize(
    "instruction",
    [
        "你是一位专业的新闻主播,语调平稳。<|endofprompt|>",
        "你是一位温柔的客服人员,充满耐心。<|endofprompt|>",
        "你是一位热情的主持人。<|endofprompt|>",
        "你是一位说话缓慢的老师。<|endofprompt|>",
        "Speak like a friendly salesperson.<|endofprompt|>",
    ],
)
def test_moods(demo: Server, folder: Path, instruction: str) -> None:
    answer = demo.speak(text="这是一个测试。", instruction=instruction)
    (folder / "output.wav").write_bytes(answer.content)
    check_speech(folder)


def test_missing_default_prompt(tmp_path: Path) -> None:
    settings = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": ""}}
    with Server(tmp_path, settings) as server:
        answer = server.speak(text="您好")
        assert (answer.status_code, "No prompt_wav provided and default file not found" in answer.text) == (422, True)
