"""What a text will say, asked without a sound; and how it is to be read, told with every request for speech."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import sounds
from tests.http.sessions import session
from tests.http.test_contract import request_seen
from tests.http.wire import check_error
from tests.serving import ROOT, Script, Server

WORDS = "/v1/text/words"
HOW: dict[str, Any] = {"language": "pt-BR", "pronunciations": {"nginx": "engine x", "重庆": "虫庆"}}
IN_A_FORM: dict[str, Any] = {"language": "pt-BR", "pronunciations": '{"nginx": "engine x", "重庆": "虫庆"}'}
Ask = Callable[[Server, Script], None]


def ask(server: Server, **fields: Any) -> httpx.Response:
    return httpx.post(server.url + WORDS, json=fields, timeout=60)


class TestWords:
    def test_segments_and_spans(self, server: Server) -> None:
        text = "It costs $1,000."
        answer = ask(server, text=text)
        assert answer.status_code == 200
        said = answer.json()
        assert said["segments"] == [{"text": "It costs one thousand dollars.", "pause_s": 0.0}]
        spans = said["spans"]
        assert [text[span["start"] : span["end"]] for span in spans] == ["It costs ", "$1,000", "."]
        assert "".join(text[span["start"] : span["end"]] for span in spans) == text
        assert (spans[1]["kind"], spans[1]["language"], spans[1]["spoken"]) == ("money", "en", "one thousand dollars")

    def test_a_pause_that_was_asked_for(self, server: Server) -> None:
        said = ask(server, text="Hello [pause:1.5s] there").json()
        assert [(segment["text"], segment["pause_s"]) for segment in said["segments"]] == [
            ("Hello", 1.5),
            ("there", 0.0),
        ]

    def test_a_bare_number_is_in_the_language_that_is_told(self, server: Server) -> None:
        words = [
            ask(server, text="42", language=language).json()["segments"][0]["text"] for language in ("en", "zh", "fr")
        ]
        assert [word.strip("。.") for word in words] == ["forty two", "四十二", "quarante-deux"]

    def test_words_of_ones_own(self, server: Server) -> None:
        said = ask(server, text="nginx is up", pronunciations={"nginx": "engine x"}).json()
        assert said["segments"][0]["text"] == "engine x is up"

    def test_the_models_own_marks_stay(self, server: Server) -> None:
        said = ask(server, text="Well [breath] <strong>yes</strong>, 3 of them").json()
        assert said["segments"][0]["text"] == "Well [breath] <strong>yes</strong>, three of them"

    def test_nothing_to_say_is_no_segment(self, server: Server) -> None:
        assert ask(server, text="……！").json()["segments"] == []

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({}, "invalid_field", "text"),
            ({"text": ""}, "invalid_field", "text"),
            ({"text": 5}, "invalid_field", "text"),
            ({"text": "x" * 1001}, "text_too_long", "text"),
            ({"text": "x", "language": "english, please"}, "invalid_field", "language"),
            ({"text": "x", "pronunciations": {"x": 1}}, "invalid_field", "pronunciations"),
            ({"text": "x", "pronunciations": {"": "y"}}, "invalid_field", "pronunciations"),
            ({"text": "<speak>a <audio src='x'/> b</speak>"}, "invalid_field", "text"),
        ],
    )
    def test_what_cannot_be_read_is_told(self, server: Server, fields: dict[str, Any], code: str, param: str) -> None:
        check_error(ask(server, **fields), 422, code, param)

    def test_a_body_that_is_no_json(self, server: Server) -> None:
        check_error(httpx.post(server.url + WORDS, content="{", timeout=60), 400, "malformed_json")
        headers = {"content-type": "application/json"}
        check_error(httpx.post(server.url + WORDS, content="[]", headers=headers, timeout=60), 400, "malformed_json")


def as_a_form(server: Server, script: Script) -> None:
    assert server.speak(text=script.text, **IN_A_FORM).status_code == 200


def as_json(server: Server, script: Script) -> None:
    answer = httpx.post(f"{server.url}/v1/audio/speech", json={"input": script.text, **HOW}, timeout=60)
    assert answer.status_code == 200


def as_the_runtimes_clients(server: Server, script: Script) -> None:
    form = {"tts_text": script.text, **IN_A_FORM}
    answer = httpx.post(f"{server.url}/inference_sft", data={**form, "spk_id": "default"}, timeout=60)
    assert answer.status_code == 200


def with_a_prompt(server: Server, script: Script) -> None:
    files = {"prompt_wav": ("v.wav", sounds.prompt())}
    form = {"tts_text": script.text, **IN_A_FORM}
    answer = httpx.post(f"{server.url}/inference_cross_lingual", data=form, files=files, timeout=60)
    assert answer.status_code == 200


def in_a_session(server: Server, script: Script) -> None:
    with session(server) as client:
        client.send("session.config", **HOW)
        client.send("input.text", text=script.text + "\n")
        client.send("input.done")
        client.until("session.done")


class TestEveryRoute:
    @pytest.mark.parametrize("say", [as_a_form, as_json, as_the_runtimes_clients, with_a_prompt, in_a_session])
    def test_hands_on_how_to_read(self, server: Server, tmp_path: Path, say: Ask) -> None:
        script = Script(tmp_path)
        say(server, script)
        seen = request_seen(script)
        assert (seen["language"], seen["pronunciations"]) == (HOW["language"], HOW["pronunciations"])

    @pytest.mark.parametrize(("name", "value"), [("language", "english, please"), ("pronunciations", "nginx=engine x")])
    def test_a_form_that_cannot_be_taken(self, server: Server, name: str, value: str) -> None:
        fields: dict[str, Any] = {"text": "hello", name: value}
        check_error(server.speak(**fields), 422, "invalid_field", name)


class TestLexicon:
    def test_is_heard_by_who_asks(self, tmp_path: Path) -> None:
        lexicon = tmp_path / "words.toml"
        lexicon.write_text('["*"]\nSQL = "sequel"\n')
        with Server(tmp_path, {"text": {"lexicon": str(lexicon)}}) as server:
            assert ask(server, text="SQL").json()["segments"][0]["text"].startswith("sequel")

    def test_one_that_cannot_be_read_ends_the_start(self, tmp_path: Path) -> None:
        lexicon = tmp_path / "words.toml"
        lexicon.write_text("SQL = ")
        environment = {**os.environ, "COSYSERVE_TEXT__LEXICON": str(lexicon)}
        for command in ("serve", "check"):
            done = subprocess.run(
                [sys.executable, "-m", "cosyserve", command, "--engine", "demo", "--port", "0"],
                cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode != 0
            assert f"text.lexicon cannot be read: {lexicon}" in done.stdout + done.stderr
