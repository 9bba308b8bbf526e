"""Named keys and what one key may have under way, through the socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests import sounds
from tests.engines import expected_pcm
from tests.http.test_openai import client_of
from tests.http.wire import check_error
from tests.serving import Script, Server, wait_for

SHOP = {"Authorization": "Bearer abc"}
PHONE = {"X-Api-Key": "def"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two keys from a file, one request each at a time."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text("shop:abc\nphone:def\n")
    settings: dict[str, Any] = {"server": {"api_keys_file": "keys"}, "limits": {"max_concurrency_per_key": 1}}
    with Server(folder, settings) as server:
        yield server


def test_the_log_tells_whose_a_request_was(guarded: Server) -> None:
    assert guarded.speak(text="hello", headers={**PHONE, "X-Request-Id": "whose"}).status_code == 200
    (line,) = wait_for(
        lambda: [line for line in guarded.logs("speech") if line["request_id"] == "whose"], "the request's line"
    )
    assert line["key"] == "phone"
    assert "abc" not in guarded.output()


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_newcomers_may_read_how_it_works(guarded: Server, path: str) -> None:
    assert guarded.get(path).status_code != 401


def test_one_key_at_its_limit_leaves_the_others_alone(guarded: Server, tmp_path: Path) -> None:
    script = Script(tmp_path, at=1)
    with guarded.stream(text=script.text, seed=1, headers=SHOP) as running:
        check_error(guarded.speak(text="hello", headers=SHOP), 429, "too_many_at_once")
        with client_of(guarded, "abc") as client, pytest.raises(openai.RateLimitError):
            client.audio.speech.create(model="tts-1", voice="alloy", input="hello")
        assert guarded.get("/v1/audio/voices", headers=SHOP).status_code == 200
        assert guarded.speak(text="hello", headers=PHONE).status_code == 200
        script.open_gate()
        assert running.read() == expected_pcm(1, 3)
    wait_for(lambda: guarded.speak(text="hello", headers=SHOP).status_code == 200, "the place to be free again")


def test_a_client_that_goes_away_gives_its_place_back(guarded: Server, tmp_path: Path) -> None:
    script = Script(tmp_path, at=1)
    with guarded.stream(text=script.text, headers=SHOP):
        pass
    wait_for(lambda: guarded.speak(text="hello", headers=SHOP).status_code == 200, "the place to be free again")


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A key, and names that are read without it."""
    settings: dict[str, Any] = {"server": {"api_keys": ["abc"], "public_names": True}}
    with Server(tmp_path_factory.mktemp("public"), settings) as server:
        words = dict.fromkeys(("ref_text", "instruction", "description", "consent"), "mysecret")
        server.post("/v1/audio/voices", SHOP, name="bob", audio_sample=sounds.prompt(), **words)
        yield server


class TestNamesWithoutAKey:
    @pytest.mark.parametrize("path", ["/v1/models", "/v1/audio/models", "/v1/audio/voices", "/v1/audio/voices/"])
    def test_are_read(self, public: Server, guarded: Server, path: str) -> None:
        assert public.get(path).status_code == 200
        check_error(guarded.get(path), 401, "invalid_api_key")

    def test_of_voices_they_are_all_that_is(self, public: Server) -> None:
        known, strange = public.get("/v1/audio/voices", SHOP).json(), public.get("/v1/audio/voices").json()
        assert known["names"] == strange["names"] == ["default", "bob"]
        assert [set(voice) for voice in known["voices"]] == [set(voice) for voice in strange["voices"]]
        assert json.dumps(known).count("mysecret") == 3 * 4
        assert "mysecret" not in json.dumps(strange)

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/v1/audio/voices"),
            ("GET", "/v1/audio/voices/bob"),
            ("GET", "/v1/audio/voices/bob/audio"),
            ("DELETE", "/v1/audio/voices/bob"),
            ("GET", "/v1/models/tts-1"),
            ("GET", "/model_info"),
            ("POST", "/v1/audio/speech"),
        ],
    )
    def test_nothing_else_is(self, public: Server, method: str, path: str) -> None:
        check_error(httpx.request(method, public.url + path), 401, "invalid_api_key")
