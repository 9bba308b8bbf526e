"""What works with one machine works with nodes: the guide's clients, OpenAI's, and the WebSocket."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.cluster.nodes import Nodes, Service
from tests.http.sessions import session

# Run here with the service of this file.
from tests.http.test_guide import TestCurl, TestRequests, folder, test_moods  # noqa: F401
from tests.http.test_openai import client_of

pytest.importorskip("espeakng_loader", reason="the engine demo is not installed")
pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def demo(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"model": {"engine": "demo"}, "defaults": {"prompt_wav": "asset/zero_shot_prompt.wav"}}
    with Service(nodes, tmp_path_factory.mktemp("demo"), settings, num_replicas=2) as service:
        yield service


def check_pcm(pcm: bytes) -> None:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    assert len(samples) > 24_000 / 2
    assert 300 < np.sqrt(np.mean(samples**2)) < 15_000


def test_openai_s_client(demo: Service) -> None:
    with client_of(demo) as client:
        speech = client.audio.speech.create(model="tts-1", voice="alloy", input="Good morning!", response_format="pcm")
    check_pcm(speech.content)


def test_a_session(demo: Service) -> None:
    with session(demo) as client:
        client.say("Good morning! ", "Nice to ", "see you.")
        heard = client.until("session.done")
    check_pcm(b"".join(heard.audio.values()))
