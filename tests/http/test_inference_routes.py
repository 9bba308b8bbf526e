"""The CosyVoice runtime's routes, as its own client calls them: GET with a form in the body."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import sounds
from tests.engines import expected_pcm
from tests.http.test_contract import request_seen
from tests.http.wire import check_error
from tests.serving import Script, Server

AUDIO = sounds.prompt(seconds=2.5, rate=22_050)
PROMPT_ROUTES = ("/inference_zero_shot", "/inference_cross_lingual", "/inference_instruct2")
SPEAKER_ROUTES = ("/inference_sft", "/inference_instruct")
BOTH: dict[str, Any] = {"prompt_text": "希望", "instruct_text": "慢"}
DONE = "<|endofprompt|>"

Asked = tuple[str, dict[str, str], tuple[str, str, str]]
"""The path, the fields; and the mode, instruction and prompt text that reach the engine."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the voices 中文女, plain, and bob, who has a text and an instruction."""
    with Server(tmp_path_factory.mktemp("inference")) as server:
        for name, fields in (("中文女", {}), ("bob", {"ref_text": "大家好", "instruction": "快"})):
            answer = server.post("/v1/audio/voices", name=name, audio_sample=AUDIO, **fields)  # type: ignore[arg-type]
            assert answer.status_code == 201
        yield server


def call(server: Server, method: str, path: str, prompt: bytes | None = None, /, **fields: str) -> requests.Response:
    files = None if prompt is None else [("prompt_wav", ("prompt_wav", prompt, "application/octet-stream"))]
    return requests.request(method, server.url + path, data=fields, files=files, stream=True, timeout=60)


@pytest.mark.parametrize("method", ["GET", "POST"])
class TestWithAPrompt:
    @pytest.mark.parametrize(
        "asked",
        [
            ("/inference_zero_shot", {"prompt_text": "希望"}, ("zero_shot", "", "希望")),
            ("/inference_zero_shot", BOTH, ("zero_shot", "", "希望")),
            ("/inference_cross_lingual", {}, ("cross_lingual", "", "")),
            ("/inference_cross_lingual", BOTH, ("cross_lingual", "", "")),
            ("/inference_instruct2", {"instruct_text": "慢"}, ("instruct2", "慢" + DONE, "")),
            ("/inference_instruct2", BOTH, ("instruct2", "慢" + DONE, "")),
        ],
    )
    def test_mode(self, stored: Server, tmp_path: Path, method: str, asked: Asked) -> None:
        path, fields, expected = asked
        script = Script(tmp_path)
        answer = call(stored, method, path, AUDIO, tts_text=script.text, seed="5", **fields)
        assert (answer.status_code, answer.content) == (200, expected_pcm(5, 3))
        assert answer.headers["content-type"] == "audio/pcm"
        seen = request_seen(script)
        assert (seen["mode"], seen["instruction"], seen["prompt_text"]) == expected
        assert seen["prompt_rate"] == 22_050

    def test_a_stored_voice_in_its_place(self, stored: Server, tmp_path: Path, method: str) -> None:
        script = Script(tmp_path)
        answer = call(stored, method, "/inference_zero_shot", None, tts_text=script.text, voice="bob")
        assert answer.status_code == 200
        assert request_seen(script)["prompt_text"] == "大家好"


@pytest.mark.parametrize("method", ["GET", "POST"])
class TestWithASpeaker:
    @pytest.mark.parametrize(
        "asked",
        [
            ("/inference_sft", {"spk_id": "中文女"}, ("cross_lingual", "", "")),
            ("/inference_sft", {"spk_id": "bob"}, ("instruct2", "快" + DONE, "")),
            ("/inference_instruct", {"spk_id": "中文女", "instruct_text": "慢"}, ("instruct2", "慢" + DONE, "")),
            ("/inference_instruct", {"spk_id": "bob", "instruct_text": "慢"}, ("instruct2", "慢" + DONE, "")),
        ],
    )
    def test_mode(self, stored: Server, tmp_path: Path, method: str, asked: Asked) -> None:
        path, fields, expected = asked
        script = Script(tmp_path)
        answer = call(stored, method, path, None, tts_text=script.text, seed="5", **fields)
        assert (answer.status_code, answer.content) == (200, expected_pcm(5, 3))
        seen = request_seen(script)
        assert (seen["mode"], seen["instruction"], seen["prompt_text"]) == expected


class TestQuery:
    def test_fields_in_the_query_of_a_get(self, stored: Server) -> None:
        query = {"tts_text": "hello", "spk_id": "中文女", "seed": "5"}
        answer = requests.get(f"{stored.url}/inference_sft", params=query, timeout=60)
        assert (answer.status_code, answer.content) == (200, expected_pcm(5, 3))

    def test_each_field_once(self, stored: Server) -> None:
        query = {"tts_text": ["hello", "goodbye"], "spk_id": "bob"}
        answer = requests.get(f"{stored.url}/inference_sft", params=query, timeout=60)
        check_error(answer, 400, "malformed_form")

    def test_not_of_a_post(self, stored: Server) -> None:
        answer = requests.post(f"{stored.url}/inference_sft?tts_text=hello&spk_id=bob", timeout=60)
        check_error(answer, 400, "malformed_form")

    def test_a_prompt_cannot_be_there(self, stored: Server) -> None:
        query = {"tts_text": "hello", "prompt_wav": "voice.wav"}
        answer = requests.get(f"{stored.url}/inference_cross_lingual", params=query, timeout=60)
        check_error(answer, 422, "invalid_field", "prompt_wav")


class TestRefusing:
    @pytest.mark.parametrize("path", [*PROMPT_ROUTES, *SPEAKER_ROUTES])
    def test_no_text(self, stored: Server, path: str) -> None:
        fields = {"prompt_text": "x", "instruct_text": "x", "spk_id": "bob"}
        check_error(call(stored, "POST", path, None, **fields), 422, "invalid_field", "tts_text")

    @pytest.mark.parametrize(
        ("path", "fields", "param"),
        [
            ("/inference_zero_shot", {}, "prompt_text"),
            ("/inference_instruct2", {}, "instruct_text"),
            ("/inference_sft", {}, "spk_id"),
            ("/inference_sft", {"spk_id": " "}, "spk_id"),
            ("/inference_instruct", {"instruct_text": "慢"}, "spk_id"),
            ("/inference_instruct", {"spk_id": "中文女"}, "instruct_text"),
        ],
    )
    def test_what_the_mode_needs(self, stored: Server, path: str, fields: dict[str, str], param: str) -> None:
        answer = call(stored, "POST", path, AUDIO, tts_text="hello", **fields)
        check_error(answer, 422, "invalid_field", param)

    @pytest.mark.parametrize("path", SPEAKER_ROUTES)
    def test_an_unknown_speaker(self, stored: Server, path: str) -> None:
        fields = {"tts_text": "hello", "spk_id": "中文男", "instruct_text": "慢"}
        check_error(call(stored, "POST", path, None, **fields), 422, "unknown_voice", "spk_id")

    def test_no_speech_for_a_head(self, stored: Server) -> None:
        answer = requests.head(f"{stored.url}/inference_sft", timeout=60)
        assert (answer.status_code, answer.headers["allow"]) in {(405, "GET, POST"), (405, "POST, GET")}
