"""The contract of POST /synthesize: forms in, modes, headers, samples out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from cosyserve.settings.sections import DEFAULT_INSTRUCTION
from tests import sounds
from tests.engines import expected_pcm
from tests.http.wire import MULTIPART, check_error, connect, post, receive
from tests.serving import Script, Server

VOICE = sounds.prompt(seconds=2.5, rate=22_050)
OPTIONAL = ("instruction", "prompt_text", "prompt_wav", "format", "speed", "seed", "voice", "sample_rate")


def request_seen(script: Script) -> dict[str, Any]:
    """The request as it reached the engine."""
    line = next(event for event in script.events() if event.startswith("request "))
    seen: dict[str, Any] = json.loads(line.removeprefix("request "))
    return seen


class TestModes:
    @pytest.mark.parametrize(
        ("fields", "mode"),
        [
            ({}, "instruct2"),
            ({"prompt_wav": VOICE}, "cross_lingual"),
            ({"instruction": "温柔地说"}, "instruct2"),
            ({"instruction": "温柔地说", "prompt_wav": VOICE}, "instruct2"),
            ({"instruction": "温柔地说", "prompt_text": "希望你以后"}, "instruct2"),
            ({"instruction": "温柔地说", "prompt_text": "希望你以后", "prompt_wav": VOICE}, "instruct2"),
            ({"prompt_text": "希望你以后"}, "zero_shot"),
            ({"prompt_text": "希望你以后", "prompt_wav": VOICE}, "zero_shot"),
        ],
    )
    def test_table(self, server: Server, tmp_path: Path, fields: dict[str, Any], mode: str) -> None:
        script = Script(tmp_path)
        answer = server.speak(text=script.text, **fields)
        assert answer.status_code == 200
        assert answer.headers["x-synthesis-mode"] == mode
        given = f"{fields['instruction']}<|endofprompt|>" if "instruction" in fields else DEFAULT_INSTRUCTION
        assert request_seen(script) == {
            "mode": mode,
            "instruction": given if mode == "instruct2" else "",
            "prompt_text": fields["prompt_text"] if mode == "zero_shot" else "",
            "prompt_rate": 22_050 if "prompt_wav" in fields else 16_000,
            "prompt_samples": int(2.5 * 22_050) if "prompt_wav" in fields else 32_000,
            "speed": 1.0,
            "language": "",
            "pronunciations": {},
            "trace": None,
        }

    def test_a_system_prompt_is_for_the_engine(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        words = "You are a helpful assistant."
        answer = server.speak(text=f"{words}<|endofprompt|> {script.text}", prompt_text=f"{words}<|endofprompt|>你好")
        assert (answer.status_code, answer.headers["x-synthesis-mode"]) == (200, "zero_shot")
        assert f"system_prompt {words}" in script.events()
        assert request_seen(script)["prompt_text"] == f"{words}<|endofprompt|>你好"
        check_error(server.speak(text=f"{words}<|endofprompt|>"), 422, "unspeakable_text", "text")

    def test_a_marked_instruction_is_left_alone(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        server.speak(text=script.text, instruction="开心地说<|endofprompt|>")
        assert request_seen(script)["instruction"] == "开心地说<|endofprompt|>"

    def test_configured_prompt_text_selects_nothing(self, tmp_path: Path) -> None:
        defaults = {"prompt_text": "希望你以后", "instruction": ""}
        with Server(tmp_path, {"defaults": defaults}) as server:
            assert server.speak(text="hello").headers["x-synthesis-mode"] == "cross_lingual"


class TestAnswer:
    def test_head(self, server: Server) -> None:
        answer = server.speak(text="chunks=2", seed=7)
        assert answer.status_code == 200
        expected = {
            "content-type": "audio/pcm",
            "x-accel-buffering": "no",
            "x-sample-rate": "24000",
            "x-channels": "1",
            "x-bits-per-sample": "16",
            "x-synthesis-mode": "instruct2",
            "x-seed": "7",
            "transfer-encoding": "chunked",
        }
        assert {name: answer.headers[name] for name in expected} == expected
        assert answer.headers["x-request-id"]
        assert "content-length" not in answer.headers

    def test_samples(self, server: Server) -> None:
        assert server.speak(text="chunks=5", seed=3).content == expected_pcm(3, 5)

    def test_long_answer(self, server: Server) -> None:
        answer = server.speak(text="chunks=40 length=48000", seed=4)
        assert answer.content == expected_pcm(4, 40, 48_000)

    def test_same_seed_same_audio(self, server: Server) -> None:
        first, second, other = (server.speak(text="hello there", seed=seed).content for seed in (11, 11, 12))
        assert first == second != other

    def test_drawn_seed_is_told_and_repeats(self, server: Server) -> None:
        first, other = server.speak(text="hello"), server.speak(text="hello")
        assert first.headers["x-seed"] != other.headers["x-seed"]
        assert server.speak(text="hello", seed=first.headers["x-seed"]).content == first.content

    def test_streams_as_it_is_made(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, chunks=3, at=1)
        with server.stream(text=script.text, seed=1) as answer:
            pieces = answer.iter_raw()
            first = _read(pieces, len(expected_pcm(1, 1)))
            assert "chunk 1" not in script.events()
            script.open_gate()
            assert first + b"".join(pieces) == expected_pcm(1, 3)

    def test_the_status_waits_for_the_first_chunk(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=0, fail=0)
        with connect(server) as connection:
            connection.sendall(post(b"text=" + script.text.encode()))
            script.await_event("gate")
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
            connection.settimeout(None)
            script.open_gate()
            assert receive(connection).status_code == 500

    @pytest.mark.parametrize("speed", ["0.25", "1", "1.5", "4"])
    def test_speed_reaches_the_engine(self, server: Server, tmp_path: Path, speed: str) -> None:
        script = Script(tmp_path)
        assert server.speak(text=script.text, speed=speed).status_code == 200
        assert request_seen(script)["speed"] == float(speed)

    @pytest.mark.parametrize("seed", [0, 2**31 - 1])
    def test_seed_limits(self, server: Server, seed: int) -> None:
        answer = server.speak(text="chunks=1", seed=seed)
        assert (answer.headers["x-seed"], answer.content) == (str(seed), expected_pcm(seed, 1))


class TestForms:
    def test_urlencoded_by_requests(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        form = {"text": script.text, "instruction": "慢慢说"}
        answer = requests.post(f"{server.url}/synthesize", data=form, timeout=60)
        assert answer.status_code == 200
        assert request_seen(script)["instruction"] == "慢慢说<|endofprompt|>"

    def test_raw_utf8_urlencoded(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        with connect(server) as connection:
            connection.sendall(post(f"text={script.text}&instruction=你好 说".encode()))
            assert receive(connection).status_code == 200
        assert request_seen(script)["instruction"] == "你好 说<|endofprompt|>"

    def test_urlencoded_with_a_charset(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(post(b"text=hello", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"))
            assert receive(connection).status_code == 200

    def test_multipart_without_files(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        fields = {"text": (None, script.text), "instruction": (None, "大声说")}
        answer = requests.post(f"{server.url}/synthesize", files=fields, timeout=60)
        assert answer.status_code == 200
        assert request_seen(script)["instruction"] == "大声说<|endofprompt|>"

    def test_empty_fields_are_absent(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        empty: dict[str, Any] = dict.fromkeys(OPTIONAL, "")
        answer = server.speak(text=script.text, **empty)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "audio/pcm"
        assert request_seen(script)["instruction"] == DEFAULT_INSTRUCTION

    def test_blank_fields_are_absent(self, server: Server) -> None:
        answer = server.speak(text=" hello ", instruction=" \t", prompt_text="\n", speed=" ")
        assert (answer.status_code, answer.headers["x-synthesis-mode"]) == (200, "instruct2")

    def test_a_file_part_without_name_and_content_is_absent(self, server: Server) -> None:
        answer = _send_parts(server, ('name="text"', b"hello"), ('name="prompt_wav"; filename=""', b""))
        assert (answer.status_code, answer.headers["x-synthesis-mode"]) == (200, "instruct2")

    def test_a_named_empty_file_is_an_error(self, server: Server) -> None:
        answer = _send_parts(server, ('name="text"', b"hello"), ('name="prompt_wav"; filename="voice.wav"', b""))
        assert "empty" in check_error(answer, 422, "invalid_field", "prompt_wav")

    def test_a_file_without_a_name_is_a_file(self, server: Server) -> None:
        answer = _send_parts(server, ('name="text"', b"hello"), ('name="prompt_wav"; filename=""', VOICE))
        assert (answer.status_code, answer.headers["x-synthesis-mode"]) == (200, "cross_lingual")

    def test_unknown_fields_are_ignored(self, server: Server) -> None:
        answer = server.speak(text="hello", model="tts-1", colour="blue", attachment=b"not audio")
        assert (answer.status_code, answer.headers["x-synthesis-mode"]) == (200, "instruct2")

    def test_the_last_of_a_repeated_field_counts(self, server: Server) -> None:
        answer = httpx.post(f"{server.url}/synthesize", data={"text": ["", "chunks=1"], "seed": ["x", "2"]})
        assert answer.content == expected_pcm(2, 1)

    @pytest.mark.parametrize(("kind", "subtype"), [("FLAC", None), ("OGG", "VORBIS"), ("MP3", None), ("WAV", "FLOAT")])
    def test_prompt_formats(self, server: Server, tmp_path: Path, kind: str, subtype: str | None) -> None:
        script = Script(tmp_path)
        voice = sounds.encode(sounds.sine(2, 24_000), 24_000, kind, subtype)
        assert server.speak(text=script.text, prompt_wav=voice).headers["x-synthesis-mode"] == "cross_lingual"
        assert request_seen(script)["prompt_rate"] == 24_000


class TestGuidesOwnEndpoints:
    def test_health(self, server: Server) -> None:
        answer = server.get("/health")
        engine = {"engine": "tests.engines:create", "devices": ["d"]}
        told = {"status": "ok", "model_type": "scripted", "details": engine}
        assert (answer.status_code, answer.json()) == (200, told)

    def test_live(self, server: Server) -> None:
        assert server.get("/health/live").json() == {"status": "ok"}

    def test_model_info(self, server: Server) -> None:
        info = server.model_info()
        assert info["model_type"] == "scripted"
        assert info["model_dir"].endswith("pretrained_models/CosyVoice2-0.5B")
        assert info["default_instruction"] == DEFAULT_INSTRUCTION
        assert info["endpoint"] == "/synthesize"
        assert "instruction" in info["usage"]
        (worker,) = info["workers"]
        assert (worker["state"], worker["streams"], worker["restarts"]) == ("ready", 10, 0)


def _read(pieces: Iterator[bytes], size: int) -> bytes:
    content = b""
    while len(content) < size:
        content += next(pieces)
    return content


def _send_parts(server: Server, *parts: tuple[str, bytes]) -> httpx.Response:
    body = b"".join(
        b"--cut\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"
        for disposition, content in parts
    )
    headers = {"Content-Type": MULTIPART}
    return httpx.post(f"{server.url}/synthesize", content=body + b"--cut--\r\n", headers=headers, timeout=60)
