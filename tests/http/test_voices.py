"""/v1/audio/voices, and what `voice=` does in a request."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import sounds
from tests.engines import expected_pcm
from tests.http.test_contract import request_seen
from tests.http.wire import check_error, connect, head, receive
from tests.serving import Script, Server, wait_for

VOICES = "/v1/audio/voices"
AUDIO = sounds.prompt(seconds=2.5, rate=22_050)
AUDIO_SAMPLES = int(2.5 * 22_050)


@pytest.fixture
def voices(server: Server) -> Iterator[Server]:
    """The shared server, with no voices before and after."""
    yield server
    for name in server.get(VOICES).json()["names"][1:]:
        assert server.delete(f"{VOICES}/{name}").status_code == 200


def upload(server: Server, name: str = "Bob", audio: bytes = AUDIO, **fields: Any) -> httpx.Response:
    return server.post(VOICES, name=name, audio_sample=audio, **fields)


def _lines(server: Server, event: str, request_id: str) -> list[dict[str, Any]]:
    return [line for line in server.logs(event) if line["request_id"] == request_id]


class TestStoring:
    def test_the_answer(self, voices: Server) -> None:
        answer = upload(voices, ref_text="希望你以后", instruction="慢", speaker_description="warm", consent="c-1")
        assert answer.status_code == 201
        body = answer.json()
        stored = body.pop("voice")
        assert body.pop("success") is True
        assert body == stored
        assert stored.pop("created_at") > 1_700_000_000
        assert stored == {
            "id": "Bob",
            "object": "audio.voice",
            "type": "audio_sample",
            "name": "Bob",
            "mime_type": "audio/wav",
            "file_size": len(AUDIO),
            "sample_rate": 22_050,
            "duration_s": 2.5,
            "ref_text": "希望你以后",
            "instruction": "慢",
            "speaker_description": "warm",
            "consent": "c-1",
        }

    def test_our_own_names_for_the_fields(self, voices: Server) -> None:
        answer = voices.post(
            VOICES, name="bob", prompt_wav=AUDIO, prompt_text="你好", instructions="快", description="x"
        )
        stored = answer.json()
        assert (stored["ref_text"], stored["instruction"], stored["speaker_description"]) == ("你好", "快", "x")

    def test_listed_one_by_one_and_together(self, voices: Server) -> None:
        bob, alice = upload(voices, "bob").json()["voice"], upload(voices, "爱丽丝").json()["voice"]
        listed = voices.get(VOICES).json()
        assert listed["names"] == ["default", "bob", "爱丽丝"]
        assert listed["voices"] == listed["data"]
        assert listed["uploaded_voices"] == listed["data"][1:] == [bob, alice]
        assert (listed["object"], listed["has_more"]) == ("list", False)
        assert (listed["first_id"], listed["last_id"]) == ("default", "爱丽丝")
        assert voices.get(f"{VOICES}/BOB").json() == bob
        assert voices.get(f"{VOICES}/爱丽丝").json() == alice

    def test_the_configured_voice_is_always_there(self, voices: Server) -> None:
        (default,) = voices.get(VOICES).json()["data"]
        assert (default["id"], default["sample_rate"], default["duration_s"]) == ("default", 16_000, 2.0)
        assert voices.get(f"{VOICES}/Default").json() == voices.get(f"{VOICES}/alloy").json() == default

    def test_heard(self, voices: Server) -> None:
        flac = sounds.encode(sounds.sine(2, 24_000), 24_000, "FLAC")
        upload(voices, "bob", flac)
        answer = voices.get(f"{VOICES}/bob/audio")
        assert (answer.content, answer.headers["content-type"]) == (flac, "audio/flac")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert voices.get(f"{VOICES}/default/audio").content == sounds.prompt()

    @pytest.mark.parametrize("name", ["bob", "default"])
    def test_heard_in_parts(self, voices: Server, name: str) -> None:
        """As Safari asks: for two bytes, then for the rest."""
        upload(voices, "bob")
        path = f"{VOICES}/{name}/audio"
        whole = voices.get(path)
        assert whole.headers["accept-ranges"] == "bytes"
        size = len(whole.content)
        first, rest = (voices.get(path, {"Range": part}) for part in ("bytes=0-1", "bytes=2-"))
        assert first.content + rest.content == whole.content
        assert (first.status_code, first.headers["content-range"]) == (206, f"bytes 0-1/{size}")
        assert first.headers["content-type"] == "audio/wav"
        beyond = voices.get(path, {"Range": f"bytes={size}-"})
        check_error(beyond, 416, "range_not_satisfiable")
        assert beyond.headers["content-range"] == f"bytes */{size}"
        head_of = httpx.head(voices.url + path, headers={"Range": "bytes=0-1"})
        assert (head_of.status_code, head_of.headers["content-length"], head_of.content) == (206, "2", b"")

    def test_the_log_says_who_stored_and_deleted_what(self, voices: Server) -> None:
        voices.post(VOICES, {"X-Request-Id": "storing"}, name="bob", audio_sample=AUDIO, ref_text="mybankpin1234")
        voices.delete(f"{VOICES}/bob", {"X-Request-Id": "deleting"})
        for event, request_id in (("voice stored", "storing"), ("voice deleted", "deleting")):
            (line,) = wait_for(partial(_lines, voices, event, request_id), f"the line {event!r}")
            assert line["voice"] == "bob"
        assert "mybankpin1234" not in voices.output()

    def test_deleted(self, voices: Server) -> None:
        upload(voices, "bob")
        answer = voices.delete(f"{VOICES}/BOB")
        assert answer.status_code == 200
        assert {name: answer.json()[name] for name in ("id", "object", "deleted")} == {
            "id": "bob",
            "object": "audio.voice.deleted",
            "deleted": True,
        }
        for path in (f"{VOICES}/bob", f"{VOICES}/bob/audio"):
            check_error(voices.get(path), 404, "voice_not_found")
        check_error(voices.delete(f"{VOICES}/bob"), 404, "voice_not_found")
        check_error(voices.speak(text="hello", voice="bob"), 422, "unknown_voice", "voice")


class TestRefusing:
    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({"consent": "x"}, "invalid_field", "name"),
            ({"name": "bob"}, "invalid_field", "audio_sample"),
            ({"name": "bob", "audio_sample": b""}, "invalid_field", "audio_sample"),
            ({"name": "bob", "prompt_wav": b""}, "invalid_field", "prompt_wav"),
            ({"name": "bob", "audio_sample": "voice.wav"}, "invalid_field", "audio_sample"),
            ({"name": b"bob", "audio_sample": AUDIO}, "invalid_field", "name"),
            ({"name": "bob", "audio_sample": b"junk"}, "invalid_prompt", "audio_sample"),
            ({"name": "bob", "prompt_wav": sounds.prompt(0.5)}, "invalid_prompt", "prompt_wav"),
            ({"name": "../bob", "audio_sample": AUDIO}, "invalid_voice_name", "name"),
            ({"name": "Default", "audio_sample": AUDIO}, "invalid_voice_name", "name"),
            ({"name": "bob", "audio_sample": AUDIO, "ref_text": "x" * 1001}, "text_too_long", "ref_text"),
            ({"name": "bob", "audio_sample": AUDIO, "instructions": "x" * 1001}, "text_too_long", "instructions"),
            ({"name": "bob", "audio_sample": AUDIO, "consent": "x" * 1001}, "text_too_long", "consent"),
            ({"name": "bob", "prompt": "a warm voice", "type": "prompt"}, "invalid_field", "type"),
        ],
    )
    def test_a_field(self, voices: Server, fields: dict[str, Any], code: str, param: str) -> None:
        check_error(voices.post(VOICES, **fields), 422, code, param)
        assert voices.get(VOICES).json()["uploaded_voices"] == []

    def test_a_name_that_is_taken(self, voices: Server) -> None:
        upload(voices, "bob")
        check_error(upload(voices, "BOB"), 409, "voice_exists", "name")

    def test_the_configured_voice_stays(self, voices: Server) -> None:
        check_error(voices.delete(f"{VOICES}/default"), 422, "invalid_voice_name", "name")
        check_error(voices.delete(f"{VOICES}/alloy"), 404, "voice_not_found")

    def test_no_form(self, voices: Server) -> None:
        check_error(httpx.post(voices.url + VOICES, json={"name": "bob"}), 400, "malformed_form")

    @pytest.mark.parametrize(
        ("path", "allowed"), [(VOICES, {"GET", "HEAD", "POST"}), (f"{VOICES}/x", {"GET", "HEAD", "DELETE"})]
    )
    def test_wrong_method(self, voices: Server, path: str, allowed: set[str]) -> None:
        answer = httpx.put(voices.url + path)
        check_error(answer, 405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allowed

    @pytest.mark.parametrize("name", ["..", "../prompt.wav", "%2e%2e", "..%2fprompt.wav", "%00", "%ff", "x" * 5000])
    @pytest.mark.parametrize("tail", ["", "/audio"])
    def test_paths_that_lead_elsewhere(self, voices: Server, name: str, tail: str) -> None:
        with connect(voices) as connection:
            connection.sendall(head(f"GET {VOICES}/{name}{tail} HTTP/1.1"))
            answer = receive(connection, "GET")
        assert answer.status_code == 404

    def test_limits(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"voices": {"max_count": 1, "max_bytes": len(AUDIO)}}) as server:
            check_error(upload(server, audio=AUDIO + b"x"), 413, "upload_too_large", "audio_sample")
            assert upload(server).status_code == 201
            check_error(upload(server, "alice"), 409, "too_many_voices")

    def test_a_disk_that_takes_nothing(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"voices": {"dir": str(tmp_path / "config.toml")}}) as server:
            check_error(upload(server), 507, "storage_failed")
            assert server.speak(text="hello").status_code == 200


class TestSpeaking:
    @pytest.mark.parametrize(
        ("stored", "sent", "expected"),
        [
            ({}, {}, ("cross_lingual", "", "")),
            ({"ref_text": "希望"}, {}, ("zero_shot", "", "希望")),
            ({"instruction": "慢"}, {}, ("instruct2", "慢<|endofprompt|>", "")),
            ({"instruction": "慢", "ref_text": "希望"}, {}, ("instruct2", "慢<|endofprompt|>", "")),
            ({"instruction": "慢", "ref_text": "希望"}, {"prompt_text": "你好"}, ("zero_shot", "", "你好")),
            ({"instruction": "慢", "ref_text": "希望"}, {"instruction": "快"}, ("instruct2", "快<|endofprompt|>", "")),
        ],
    )
    def test_what_it_brings(
        self,
        voices: Server,
        tmp_path: Path,
        stored: dict[str, Any],
        sent: dict[str, Any],
        expected: tuple[str, str, str],
    ) -> None:
        upload(voices, "bob", **stored)
        script = Script(tmp_path)
        answer = voices.speak(text=script.text, voice="Bob", **sent)
        assert (answer.status_code, answer.headers["x-synthesis-mode"]) == (200, expected[0])
        seen = request_seen(script)
        assert (seen["mode"], seen["instruction"], seen["prompt_text"]) == expected
        assert (seen["prompt_rate"], seen["prompt_samples"]) == (22_050, AUDIO_SAMPLES)

    def test_a_prompt_takes_its_place(self, voices: Server, tmp_path: Path) -> None:
        upload(voices, "bob", instruction="慢", ref_text="希望")
        script = Script(tmp_path)
        answer = voices.speak(text=script.text, voice="bob", prompt_wav=sounds.prompt(3, 16_000))
        assert answer.headers["x-synthesis-mode"] == "cross_lingual"
        assert request_seen(script)["prompt_samples"] == 48_000

    @pytest.mark.parametrize("voice", ["default", "alloy", "Cedar"])
    def test_the_configured_one_is_as_if_none_were_sent(self, voices: Server, tmp_path: Path, voice: str) -> None:
        named, unnamed = Script(tmp_path, "named"), Script(tmp_path, "unnamed")
        voices.speak(text=named.text, voice=voice)
        voices.speak(text=unnamed.text)
        assert request_seen(named) == request_seen(unnamed)

    def test_a_stock_name_can_be_taken(self, voices: Server, tmp_path: Path) -> None:
        upload(voices, "alloy")
        script = Script(tmp_path)
        voices.speak(text=script.text, voice="alloy")
        assert request_seen(script)["prompt_samples"] == AUDIO_SAMPLES

    def test_deleted_while_it_speaks(self, voices: Server, tmp_path: Path) -> None:
        upload(voices, "bob")
        script = Script(tmp_path, at=1)
        with voices.stream(text=script.text, voice="bob", seed=1) as answer:
            assert voices.delete(f"{VOICES}/bob").status_code == 200
            script.open_gate()
            assert answer.read() == expected_pcm(1, 3)


class TestTheFolder:
    """What is done to it under a running server."""

    @pytest.fixture
    def file(self, voices: Server, tmp_path: Path) -> Path:
        """A voice's file, which no server has."""
        upload(voices, "bob", ref_text="希望")
        (stored,) = (voices.folder / "voices").glob("*.voice")
        shutil.copy(stored, tmp_path / "bob.voice")
        assert voices.delete(f"{VOICES}/bob").status_code == 200
        return tmp_path / "bob.voice"

    @pytest.mark.parametrize("tail", ["", "/audio"])
    def test_who_asks_for_a_name_finds_it_at_once(self, voices: Server, file: Path, tail: str) -> None:
        place = voices.folder / "voices" / "copied.voice"
        check_error(voices.get(f"{VOICES}/bob{tail}"), 404, "voice_not_found")
        shutil.copy(file, place)
        assert voices.get(f"{VOICES}/bob{tail}").status_code == 200

    def test_who_speaks_with_it_too(self, voices: Server, file: Path, tmp_path: Path) -> None:
        shutil.copy(file, voices.folder / "voices" / "copied.voice")
        script = Script(tmp_path)
        assert voices.speak(text=script.text, voice="bob").status_code == 200
        assert request_seen(script)["prompt_text"] == "希望"

    def test_all_of_it_is_seen_before_long(self, voices: Server, file: Path) -> None:
        place = voices.folder / "voices" / "copied.voice"
        shutil.copy(file, place)
        wait_for(lambda: voices.get(VOICES).json()["names"] == ["default", "bob"], "the voice to be listed")
        place.unlink()
        wait_for(lambda: voices.get(VOICES).json()["names"] == ["default"], "the voice to be gone")
