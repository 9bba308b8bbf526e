"""The budget for what clients hand in: taken on every surface, refused in the right name, given back at every end."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from cosyserve.http.bodies import LONG_BYTES
from tests import sounds
from tests.engines import expected_pcm
from tests.http.metering import pending_bytes, read
from tests.http.sessions import session
from tests.http.wire import (
    LEAVES,
    MULTIPART,
    URLENCODED,
    Leave,
    check_error,
    connect,
    head,
    post_form,
    receive,
    receive_until,
)
from tests.serving import Script, Server, Tables, wait_for

SPEECH, VOICES = "/v1/audio/speech", "/v1/audio/voices"
Surface = tuple[str, str, str]
"""Method, path and the body's type."""
SURFACES: list[Surface] = [
    ("POST", "/synthesize", MULTIPART),
    ("POST", "/synthesize", URLENCODED),
    ("POST", SPEECH, "application/json"),
    ("POST", VOICES, MULTIPART),
    ("POST", "/inference_zero_shot", MULTIPART),
    ("GET", "/inference_sft", URLENCODED),
]
UNDER_WAY = b'--cut\r\nContent-Disposition: form-data; name="v"; filename="v"\r\n\r\n'
PROMPT = sounds.prompt(10, 48_000)
DECODED = 10 * 48_000 * 4
BOMB_SAMPLES = int(29.9 * 192_000)
# Brought down to 48 kHz.
BOMB_DECODED = 4 * BOMB_SAMPLES // 4


def bomb() -> bytes:
    """17 kB that are 6 MB when they are decoded, and would be 23 at their own rate."""
    samples = np.zeros(BOMB_SAMPLES, np.float32)
    samples[1000] = 0.9
    return sounds.encode(samples, 192_000, "FLAC")


BOMB = bomb()


def limited(folder: Path, size: int) -> Server:
    return Server(folder, {"limits": {"max_pending_bytes": size, "max_concurrency": 1}})


def await_pending(server: Server, size: int, key: str = "") -> None:
    wait_for(lambda: pending_bytes(server, {"X-Api-Key": key}) == size, f"{size} bytes to be held")


@contextmanager
def holding(server: Server, size: int, key: str = "") -> Iterator[None]:
    """A client that sends an upload but for its last byte."""
    before = pending_bytes(server, {"X-Api-Key": key})
    with connect(server) as connection:
        connection.sendall(head(Content_Type=MULTIPART, Content_Length=str(size), X_Api_Key=key))
        connection.sendall(UNDER_WAY.ljust(size - 1, b"\0"))
        await_pending(server, before + size, key)
        yield
    await_pending(server, before, key)


def announce(server: Server, surface: Surface, size: int, status: int, code: str, *, key: str = "") -> None:
    """Announce an upload, and expect to be refused before any of it was sent."""
    method, path, kind = surface
    with connect(server) as connection:
        line = f"{method} {path} HTTP/1.1"
        connection.sendall(head(line, Content_Type=kind, Content_Length=str(size), X_Api_Key=key))
        check_error(receive(connection, method), status, code)


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("roomy")) as server:
        yield server


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with limited(tmp_path_factory.mktemp("small"), 500_000) as server:
        yield server
        await_pending(server, 0)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings: Tables = {
        "server": {"api_keys": ["one", "other"]},
        "limits": {"max_pending_bytes": 2_000_000},
        "websocket": {"max_message_bytes": 300_000},
    }
    with Server(tmp_path_factory.mktemp("locked"), settings) as server:
        yield server
        await_pending(server, 0, "one")


class TestTooLarge:
    @pytest.mark.parametrize("surface", SURFACES, ids=" ".join)
    def test_a_body(self, small: Server, surface: Surface) -> None:
        announce(small, surface, 500_001, 413, "upload_too_large")

    @pytest.mark.parametrize("kind", [MULTIPART, URLENCODED, "application/json"])
    def test_a_body_of_no_told_length(self, small: Server, kind: str) -> None:
        path = SPEECH if kind == "application/json" else "/synthesize"
        pieces = iter([UNDER_WAY, bytes(500_001)])
        answer = httpx.post(small.url + path, content=pieces, headers={"Content-Type": kind})
        assert "max_pending_bytes" in check_error(answer, 413, "upload_too_large")

    def test_a_prompt_once_it_is_decoded(self, small: Server) -> None:
        answer = small.speak(text="hello", prompt_wav=BOMB)
        assert "max_pending_bytes" in check_error(answer, 413, "upload_too_large")
        check_error(small.post("/inference_cross_lingual", tts_text="a", prompt_wav=BOMB), 413, "upload_too_large")
        check_error(small.post(VOICES, name="bob", audio_sample=BOMB), 413, "upload_too_large")
        body = {"input": "hello", "ref_audio": base64.b64encode(BOMB).decode()}
        check_error(httpx.post(small.url + SPEECH, json=body), 413, "upload_too_large")

    def test_a_message(self, tmp_path: Path) -> None:
        settings: Tables = {"limits": {"max_pending_bytes": 10_000}, "websocket": {"max_message_bytes": 10_001}}
        with Server(tmp_path, settings) as server:
            with pytest.raises(InvalidStatus) as refused, session(server):
                pass
            assert refused.value.response.status_code == 413


class TestFull:
    def test_every_surface(self, tmp_path: Path) -> None:
        """Requests that need little still find room, and the others do when the holder has gone."""
        with limited(tmp_path, 1_000_000) as server:
            with holding(server, 900_000):
                for surface in SURFACES:
                    announce(server, surface, 100_001, 503, "pending_full")
                assert server.speak(text="hello").status_code == 200
            assert server.speak(text="hello", prompt_wav=sounds.prompt()).status_code == 200

    def test_decoded_prompts(self, tmp_path: Path) -> None:
        """One runs, one waits in line, and for a third there is no room."""
        script = Script(tmp_path, at=1)
        held = BOMB_DECODED + 4 * len(script.text)
        with limited(tmp_path, int(2.5 * BOMB_DECODED)) as server, ThreadPoolExecutor(2) as threads:
            answers = []
            for number in range(2):
                answers.append(threads.submit(server.speak, text=script.text, seed=number, prompt_wav=BOMB))
                await_pending(server, (number + 1) * held)
            script.await_event("gate")
            check_error(server.speak(text="hello", prompt_wav=BOMB), 503, "pending_full")
            check_error(server.post(VOICES, name="bob", audio_sample=BOMB), 503, "pending_full")
            script.open_gate()
            for number, answer in enumerate(answers):
                assert answer.result().content == expected_pcm(number, 3)
            await_pending(server, 0)
            assert server.speak(text="hello", prompt_wav=BOMB).status_code == 200

    def test_sessions(self, tmp_path: Path) -> None:
        settings = {"limits": {"max_pending_bytes": 100_000}, "websocket": {"max_message_bytes": 20_000}}
        with Server(tmp_path, settings) as server:
            with session(server) as client:
                client.say("chunks=1")
                client.until("session.done")
                idle = pending_bytes(server)
                assert 20_000 <= idle < 21_000
                with holding(server, 100_000 - idle - 100):
                    client.send("input.text", text="x" * 26)
                    (error,) = client.until("error").of("error")
                    assert (error["error"]["code"], error["utterance"]) == ("pending_full", None)
                    client.send("input.text", text="chunks=2")
                    await_pending(server, 100_000 - 100 + 4 * len("chunks=2"))
                    with pytest.raises(InvalidStatus) as refused, session(server):
                        pass
                    assert refused.value.response.status_code == 503
                    assert int(refused.value.response.headers["retry-after"]) > 0
                    client.send("input.done")
                    assert client.until("session.done").messages[-1]["audio_s"] == 0.2
            await_pending(server, 0)


class TestKeys:
    def test_one_cannot_take_all(self, locked: Server) -> None:
        """Half of it each, where nothing else is said."""
        prompt = sounds.prompt(2, 48_000)
        with holding(locked, 800_000, "one"):
            for surface in SURFACES:
                announce(locked, surface, 200_001, 429, "too_much_pending", key="one")
                announce(locked, surface, 1_000_001, 413, "upload_too_large", key="other")
            answer = locked.speak(text="hello", prompt_wav=prompt, headers={"X-Api-Key": "one"})
            check_error(answer, 429, "too_much_pending")
            assert locked.speak(text="hello", prompt_wav=prompt, headers={"X-Api-Key": "other"}).status_code == 200

    def test_sessions(self, locked: Server) -> None:
        with holding(locked, 700_001, "one"):
            with pytest.raises(InvalidStatus) as refused, session(locked, headers={"X-Api-Key": "one"}):
                pass
            assert refused.value.response.status_code == 429
            with session(locked, headers={"X-Api-Key": "other"}) as client:
                client.say("chunks=1")
                client.until("session.done")
            await_pending(locked, 700_001, "one")

    def test_a_share_that_was_set(self, tmp_path: Path) -> None:
        limits = {"max_pending_bytes": 2_000_000, "max_pending_bytes_per_key": 100_000}
        with Server(tmp_path, {"server": {"api_keys": ["one"]}, "limits": limits}) as server:
            announce(server, SURFACES[0], 100_001, 413, "upload_too_large", key="one")
            with holding(server, 60_000, "one"):
                announce(server, SURFACES[0], 40_001, 429, "too_much_pending", key="one")


class TestHeld:
    def test_by_what_has_come(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(head(Content_Type=MULTIPART, Transfer_Encoding="chunked"))
            for count in range(1, 4):
                piece = UNDER_WAY.ljust(100_000, b"x") if count == 1 else bytes(100_000)
                connection.sendall(b"186A0\r\n" + piece + b"\r\n")
                await_pending(server, count * 100_000)
        await_pending(server, 0)

    def test_hardly_by_what_is_announced_alone(self, server: Server) -> None:
        """A hundred uploads of 4 MB would be more than there is room for."""
        with ExitStack() as stack:
            for _ in range(100):
                silent = stack.enter_context(connect(server))
                silent.sendall(head(Content_Type=MULTIPART, Content_Length="4000000"))
            await_pending(server, 100 * LONG_BYTES)
            assert server.speak(text="hello", prompt_wav=PROMPT).status_code == 200
        await_pending(server, 0)

    def test_while_it_waits_in_line(self, tmp_path: Path) -> None:
        """As the decoded prompt and the text alone: the upload is gone by then."""
        script = Script(tmp_path, at=0)
        with limited(tmp_path, 320 << 20) as server:
            with connect(server) as one, connect(server) as other:
                for number, connection in enumerate((one, other), 1):
                    connection.sendall(post_form(text=script.text.encode(), prompt_wav=PROMPT))
                    await_pending(server, number * (DECODED + 4 * len(script.text)))
                script.await_event("gate")
                script.open_gate()
                assert [receive(connection).status_code for connection in (one, other)] == [200, 200]
            await_pending(server, 0)

    def test_nothing_by_a_refused_client_that_sends_on(self, server: Server) -> None:
        """For as long as the close lingers."""
        with connect(server) as connection:
            connection.sendall(head(Content_Type=MULTIPART, Transfer_Encoding="chunked"))
            connection.sendall(b"186A0\r\n" + b"x" * 100_000 + b"\r\n")
            receive_until(connection, b"malformed_form")
            assert pending_bytes(server) == 0

    def test_the_limit_is_told(self, server: Server) -> None:
        assert read(server, "cosyserve_max_pending_bytes") == 320 << 20


def answered(server: Server, _: Path) -> None:
    assert server.speak(text="hello", prompt_wav=sounds.prompt()).status_code == 200


def refused(server: Server, _: Path) -> None:
    check_error(server.speak(text="", prompt_wav=PROMPT), 422, "invalid_field", "text")
    check_error(server.speak(text="hello", prompt_wav=b"junk" * 1000), 422, "invalid_prompt", "prompt_wav")
    check_error(server.post(VOICES, name="../x", audio_sample=PROMPT), 422, "invalid_voice_name", "name")
    answer = httpx.post(server.url + SPEECH, content=b"{", headers={"Content-Type": "application/json"})
    check_error(answer, 400, "malformed_json")


def spoken_as_json(server: Server, _: Path) -> None:
    body = {"input": "hello", "ref_audio": base64.b64encode(PROMPT).decode()}
    assert httpx.post(server.url + SPEECH, json=body).status_code == 200


def stored(server: Server, _: Path) -> None:
    assert server.post(VOICES, name="bob", audio_sample=PROMPT).status_code == 201
    assert server.delete(f"{VOICES}/bob").status_code == 200


def failed(server: Server, _: Path) -> None:
    check_error(server.speak(text="fail=0", prompt_wav=PROMPT), 500, "synthesis_failed")
    with pytest.raises(httpx.RemoteProtocolError):
        server.speak(text="fail=2", prompt_wav=PROMPT)


def worker_died(server: Server, tmp_path: Path) -> None:
    script = Script(tmp_path, die=0, once=tmp_path / "died")
    assert server.speak(text=script.text, prompt_wav=PROMPT).status_code == 200


@pytest.mark.parametrize(
    "end", [answered, refused, spoken_as_json, stored, failed, worker_died], ids=lambda end: end.__name__
)
def test_given_back(roomy: Server, tmp_path: Path, end: Callable[[Server, Path], None]) -> None:
    end(roomy, tmp_path)
    await_pending(roomy, 0)


@pytest.mark.parametrize("leave", LEAVES, ids=lambda leave: leave.__name__)
class TestGivenBackToNobody:
    def test_in_the_middle_of_the_body(self, server: Server, leave: Leave) -> None:
        with connect(server) as connection:
            connection.sendall(head(Content_Type=MULTIPART, Content_Length="1000000") + b"--cut\r\n")
            await_pending(server, LONG_BYTES)
            leave(connection)
            await_pending(server, 0)

    @pytest.mark.parametrize("place", [0, 1])
    def test_before_and_after_the_first_audio(self, server: Server, tmp_path: Path, leave: Leave, place: int) -> None:
        script = Script(tmp_path, at=place)
        with connect(server) as connection:
            connection.sendall(post_form(text=script.text.encode(), prompt_wav=PROMPT))
            script.await_event("gate")
            assert pending_bytes(server) >= DECODED
            leave(connection)
            await_pending(server, 0)

    def test_of_a_session(self, server: Server, tmp_path: Path, leave: Leave) -> None:
        script = Script(tmp_path, at=1)
        with session(server) as client:
            client.say(script.text)
            client.until_audio()
            client.send("input.text", text="never said")
            texts = 4 * len(script.text + "never said")
            wait_for(lambda: pending_bytes(server) >= 65_536 + texts, "the texts to be held")
            leave(client.connection.socket)
            await_pending(server, 0)


def test_what_is_spoken_or_cancelled_is_given_back_while_the_session_goes_on(server: Server, tmp_path: Path) -> None:
    script = Script(tmp_path, at=1)
    with session(server) as client:
        client.say("chunks=1")
        client.until("session.done")
        idle = pending_bytes(server)
        client.say(script.text)
        client.until_audio()
        assert pending_bytes(server) == idle + 4 * len(script.text)
        client.send("input.cancel")
        client.until("input.cancelled")
        assert pending_bytes(server) == idle
        client.send("input.text", text="x" * 1001)
        client.until("error")
        assert pending_bytes(server) == idle
