"""The OpenAPI document held against the real server by Schemathesis: every answer as described, and none a 500."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import sounds
from tests.serving import Server

CONFIG = Path(__file__).with_name("schemathesis.toml")
LIMITS = {"limits": {"max_text_chars": 1000}}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("described"), LIMITS) as server:
        server.post("/v1/audio/voices", name="bob", audio_sample=sounds.prompt())
        yield server


def schemathesis(server: Server, folder: Path, *options: str) -> int:
    """Run it; an answer that is not as described fails the test. Returns how many cases it made."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
            *(f"{server.url}/openapi.json", "--suppress-health-check", "all", "--no-color"),
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = re.search(r"Test cases:\n +(\d+) generated", done.stdout)
    assert made, done.stdout
    return int(made[1])


def check_nobody_was_hurt(server: Server) -> None:
    server.await_idle()
    assert server.health() == "ok"
    (worker,) = server.model_info()["workers"]
    assert worker["restarts"] == 0
    assert not [line for line in server.logs() if line["level"] == "error"]


def test_a_few_cases(described: Server, tmp_path: Path) -> None:
    options = ("--phases", "examples,fuzzing", "--max-examples", "5", "--generation-deterministic")
    assert schemathesis(described, tmp_path, *options) >= 100
    check_nobody_was_hurt(described)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_thousands_of_cases(described: Server, tmp_path: Path) -> None:
    options = ("--max-examples", "100", "--generation-database", "none")
    assert schemathesis(described, tmp_path, *options) >= 2_000
    check_nobody_was_hurt(described)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_with_keys(tmp_path: Path) -> None:
    with Server(tmp_path, {**LIMITS, "server": {"api_keys": ["secret"]}}) as server:
        options = ("--header", "Authorization: Bearer secret", "--max-examples", "20", "--generation-database", "none")
        assert schemathesis(server, tmp_path, *options) >= 1_000


def test_the_page(described: Server) -> None:
    page = described.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/v1/audio/speech" in page.text
