"""/v1/audio/speech/stream over real sockets: order, barge-in, limits, and who may come in."""

import io
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cosyserve.live.session import MAX_UTTERANCES
from tests import sounds
from tests.engines import expected_pcm
from tests.http.sessions import PATH, Heard, session
from tests.http.wire import ERROR_TYPES, connect, frame, receive_until, received_until_the_end, upgrade
from tests.serving import ROOT, Script, Server, wait_for


def text_frame(message: dict[str, object]) -> bytes:
    """A client's text frame, masked with zeros."""
    text = json.dumps(message).encode()
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def line(script: Script) -> str:
    """The script as a clause of its own."""
    return script.text + "\n"


class TestOneUtterance:
    def test_a_sentence_is_spoken_though_nothing_follows(self, server: Server) -> None:
        """Its full stop could be a decimal point's: that is waited for, and not for ever."""
        with session(server) as client:
            client.send("input.text", text="chunks=2 number=3.")
            assert client.until("audio.done").audio

    def test_clauses_in_order(self, server: Server) -> None:
        with session(server) as client:
            client.send("session.config", seed=5)
            client.send("input.text", text="chunks=2 first")
            client.send("input.text", text=" sentence\nchunks=4 second sen")
            client.send("input.text", text="tence\nchunks=3 third")
            client.send("input.done")
            heard = client.until("session.done")
        assert heard.kinds == ["audio.start", "audio.done"] * 3 + ["session.done"]
        assert heard.audio == {(0, 0): expected_pcm(5, 2), (0, 1): expected_pcm(5, 4), (0, 2): expected_pcm(5, 3)}
        first, *_ = heard.of("audio.start")
        assert first == {
            "type": "audio.start",
            "utterance": 0,
            "clause": 0,
            "text": "chunks=2 first sentence",
            "format": "pcm",
            "sample_rate": 24_000,
            "channels": 1,
            "seed": 5,
        }
        assert [message["audio_s"] for message in heard.of("audio.done")] == [0.2, 0.4, 0.3]
        end = heard.messages[-1]
        assert end == {"type": "session.done", "utterance": 0, "clauses": 3, "audio_s": 0.9, "complete": True}

    def test_audio_leaves_before_the_text_is_complete(self, server: Server) -> None:
        with session(server) as client:
            client.send("session.config", seed=5)
            client.send("input.text", text="chunks=2 first sentence\nchunks=1 and")
            assert client.until("audio.done").audio == {(0, 0): expected_pcm(5, 2)}
            client.send("input.done")
            assert client.until("session.done").audio == {(0, 1): expected_pcm(5, 1)}

    def test_the_next_clause_is_made_while_the_first_is_heard(self, server: Server, tmp_path: Path) -> None:
        first, second = Script(tmp_path, "first", at=1), Script(tmp_path, "second")
        with session(server) as client:
            client.say(line(first), line(second))
            second.await_event("end")
            assert first.events()[-1] == "gate"
            first.open_gate()
            heard = client.until("session.done")
        assert heard.kinds == ["audio.start", "audio.done"] * 2 + ["session.done"]

    @pytest.mark.parametrize("audio_format", ["wav", "flac", "mp3", "opus", "aac"])
    def test_each_clause_is_a_whole_file(self, server: Server, audio_format: str) -> None:
        with session(server) as client:
            client.send("session.config", response_format=audio_format, sample_rate=16_000)
            client.say("chunks=10 tone=440 one\nchunks=5 tone=440 two\n")
            heard = client.until("session.done")
        starts = [(start["format"], start["sample_rate"]) for start in heard.of("audio.start")]
        assert starts == [(audio_format, 16_000)] * 2
        if audio_format in {"wav", "mp3", "opus"}:
            seconds = [soundfile.read(io.BytesIO(content))[0].size / 16_000 for content in heard.audio.values()]
            assert seconds == pytest.approx([1, 0.5], abs=0.2)

    def test_a_voice_and_an_instruction(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path)
        with session(server) as client:
            client.send("session.config", voice="alloy", instructions="gently", speed=2)
            client.say(script.text)
            client.until("session.done")
        (asked,) = [json.loads(event.removeprefix("request ")) for event in script.events() if "request" in event]
        assert (asked["mode"], asked["instruction"], asked["speed"]) == ("instruct2", "gently<|endofprompt|>", 2.0)

    def test_a_system_prompt_goes_before_each_clause(self, server: Server, tmp_path: Path) -> None:
        words, scripts = "You are a helpful assistant. 请说。", [Script(tmp_path, name) for name in ("one", "two")]
        with session(server) as client:
            client.say(f"{words}<|endofprompt|>{line(scripts[0])}", line(scripts[1]))
            heard = client.until("session.done")
        assert [start["text"] for start in heard.of("audio.start")] == [script.text for script in scripts]
        assert all(f"system_prompt {words}" in script.events() for script in scripts)

    def test_a_stored_voice(self, tmp_path: Path) -> None:
        script = Script(tmp_path)
        with Server(tmp_path) as server:
            stored = server.post(
                "/v1/audio/voices", name="alice", audio_sample=sounds.prompt(2.0, 22_050), consent="c-1"
            )
            assert stored.status_code == 201, stored.text
            with session(server) as client:
                client.send("session.config", voice="alice")
                client.say(script.text)
                client.until("session.done")
            logged = wait_for(lambda: server.logs("speech"), "the clause's line")
            assert (logged[0]["voice"], logged[0]["route"]) == ("alice", "/v1/audio/speech/stream")
        (asked,) = [json.loads(event.removeprefix("request ")) for event in script.events() if "request" in event]
        assert asked["prompt_rate"] == 22_050


class TestSeveral:
    def test_one_after_another(self, server: Server) -> None:
        with session(server) as client:
            for utterance, seed in enumerate((3, 4, 5)):
                client.send("session.config", seed=seed)
                client.say("chunks=2 hello")
                heard = client.until("session.done")
                assert heard.audio == {(utterance, 0): expected_pcm(seed, 2)}

    def test_the_next_may_come_early(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with session(server) as client:
            client.say(script.text)
            client.say("chunks=2 next")
            script.await_event("gate")
            script.open_gate()
            assert client.until("session.done").messages[-1]["utterance"] == 0
            assert client.until("session.done").messages[-1]["utterance"] == 1

    def test_nothing_to_say(self, server: Server) -> None:
        with session(server) as client:
            client.say(" ")
            assert client.until("session.done").messages[-1]["clauses"] == 0

    def test_half_a_surrogate_pair_is_dropped(self, server: Server) -> None:
        with session(server) as client:
            client.connection.send('{"type": "input.text", "text": "chunks=1 hi\\ud83d there"}')
            client.send("input.done")
            heard = client.until("session.done")
        assert heard.of("audio.start")[0]["text"] == "chunks=1 hi there"

    def test_the_end_of_what_was_not_begun(self, server: Server, tmp_path: Path) -> None:
        """However often it comes: one utterance is being spoken, and the next one is the second."""
        script = Script(tmp_path, at=1)
        with session(server) as client:
            client.say(script.text)
            client.until_audio()
            client.connection.socket.sendall(text_frame({"type": "input.done"}) * 5_000)
            client.say("chunks=1 next")
            script.open_gate()
            ends = [client.until("session.done").messages[-1] for _ in range(2)]
        assert [(end["utterance"], end["clauses"]) for end in ends] == [(0, 1), (1, 1)]

    def test_no_more_than_so_many(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with session(server) as client:
            client.say(script.text)
            client.until_audio()
            for _ in range(MAX_UTTERANCES):
                client.say("")
            (error,) = client.until("error").of("error")
            assert (error["error"]["code"], error["utterance"]) == ("too_many_utterances", None)
            script.open_gate()
            for number in range(MAX_UTTERANCES):
                assert client.until("session.done").messages[-1]["utterance"] == number
            client.say("chunks=1 next")
            assert client.until("session.done").messages[-1]["utterance"] == MAX_UTTERANCES

    def test_two_connections_at_once(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with session(server) as one, session(server) as other:
            one.say(script.text)
            script.await_event("gate")
            other.say("chunks=2 hello")
            other.until("session.done")
            script.open_gate()
            one.until("session.done")


class TestBargeIn:
    def test_no_audio_follows_and_the_streams_are_free(self, server: Server, tmp_path: Path) -> None:
        script, behind = Script(tmp_path, chunks=1_000_000), Script(tmp_path, "behind", at=0)
        with session(server) as client:
            client.say(line(script), line(behind))
            client.until_audio()
            behind.await_event("gate")
            client.send("input.cancel")
            heard = client.until("input.cancelled")
            assert heard.messages[-1] == {"type": "input.cancelled", "utterance": 0}
            server.await_idle()
            assert server.model_info()["buffered_bytes"] == 0
            client.send("session.config", seed=9)
            client.say("chunks=1 after all")
            # Whatever came between the two would be here.
            after = client.until("session.done")
        assert after.kinds == ["audio.start", "audio.done", "session.done"]
        assert after.audio == {(1, 0): expected_pcm(9, 1)}
        for made in (script, behind):
            made.await_event("closed")
            assert "end" not in made.events()
        wait_for(
            lambda: sorted(entry["outcome"] for entry in server.logs("speech")[-3:]) == ["interrupted"] * 2 + ["ok"],
            "the clauses' lines",
        )

    @pytest.mark.parametrize("moment", range(20))
    def test_at_any_moment(self, server: Server, moment: int) -> None:
        with session(server) as client:
            client.say("chunks=50 first\nchunks=50 second\n")
            heard = Heard()
            # Frames that wait leave as one: there may be fewer than that.
            while moment and "session.done" not in heard.kinds:
                client.take(heard)
                moment -= 1
            client.send("input.cancel")
            client.until("input.cancelled")
            client.say("chunks=1 after all")
            assert client.until("session.done").kinds == ["audio.start", "audio.done", "session.done"]

    def test_when_there_is_nothing_to_cancel(self, server: Server) -> None:
        with session(server) as client:
            for _ in range(2):
                client.send("input.cancel")
                assert client.until("input.cancelled").kinds == ["input.cancelled"]

    def test_text_that_waits_for_its_clause_is_forgotten(self, server: Server) -> None:
        with session(server) as client:
            client.send("input.text", text="never said")
            client.send("input.cancel")
            client.until("input.cancelled")
            client.say("chunks=1")
            (start,) = client.until("session.done").of("audio.start")
        assert start["text"] == "chunks=1"


def interrupt_at_random(server: Server, seed: int) -> None:
    """A listener who lets some utterances end, interrupts others, and sometimes hangs up and calls again."""
    chance = random.Random(seed)
    for _ in range(4):
        with session(server) as client:
            for utterance in range(chance.randint(1, 4)):
                audio_format = chance.choice(["pcm", "mp3", "opus"])
                client.send("session.config", response_format=audio_format)
                client.say("chunks=20 one\nchunks=20 two\nchunks=20 three\n")
                match chance.randint(0, 2):
                    case 0:
                        heard = client.until("session.done")
                        assert (heard.messages[-1]["utterance"], heard.messages[-1]["clauses"]) == (utterance, 3)
                    case 1:
                        for _ in range(chance.randint(0, 10)):
                            client.take()
                        client.send("input.cancel")
                        assert client.until("input.cancelled").messages[-1]["utterance"] == utterance
                    case 2:
                        client.until_audio()
                        break


def test_many_who_interrupt(tmp_path: Path) -> None:
    settings = {"limits": {"max_concurrency": 5, "max_waiting": 50}}
    with Server(tmp_path, settings) as server:
        with ThreadPoolExecutor(8) as threads:
            for listener in [threads.submit(interrupt_at_random, server, seed) for seed in range(8)]:
                listener.result()
        server.await_idle()
        assert server.model_info()["buffered_bytes"] == 0
        outcomes = {entry["outcome"] for entry in server.logs("speech")}
        assert outcomes <= {"ok", "interrupted", "listener_gone"}
        assert not [entry for entry in server.logs() if entry.get("level") == "error"]


class TestWrongMessages:
    @pytest.mark.parametrize(
        ("message", "code", "param"),
        [
            ("hello", "malformed_message", None),
            (b"\0\1", "malformed_message", None),
            ('{"type": "response.create"}', "malformed_message", "type"),
            ('{"type": "input.text"}', "invalid_field", "text"),
            ('{"type": "session.config", "voice": "nobody"}', "unknown_voice", "voice"),
            (
                '{"type": "session.config", "response_format": "mp3", "sample_rate": 23000}',
                "invalid_field",
                "sample_rate",
            ),
            ('{"type": "session.config", "ref_audio": "AAAA"}', "invalid_field", "ref_audio"),
            (json.dumps({"type": "input.text", "text": "x" * 1001}), "text_too_long", "text"),
        ],
    )
    def test_are_told_and_change_nothing(
        self, server: Server, message: str | bytes, code: str, param: str | None
    ) -> None:
        with session(server) as client:
            client.send("session.config", seed=4)
            client.send("input.text", text="chunks=2 still")
            client.connection.send(message)
            (error,) = client.until("error").messages
            assert (error["error"]["code"], error["error"]["param"]) == (code, param)
            assert error["error"]["type"] in ERROR_TYPES
            assert error["utterance"] is None
            client.send("input.text", text=" here")
            client.send("input.done")
            assert client.until("session.done").audio == {(0, 0): expected_pcm(4, 2)}

    def test_one_that_is_too_large_ends_the_session(self, server: Server) -> None:
        with session(server) as client:
            client.connection.send("x" * 70_000)
            with pytest.raises(ConnectionClosed) as closed:
                client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009

    def test_one_without_end_is_not_kept(self, tmp_path: Path) -> None:
        """From a client that takes no notice of the close: 60 MB of one message."""
        with Server(tmp_path) as server, connect(server) as connection:
            connection.sendall(upgrade(PATH))
            receive_until(connection, b"\r\n\r\n")
            process = psutil.Process(server.pid)
            before = process.memory_info().rss
            for number in range(1000):
                connection.sendall(frame(0 if number else 1, b"x" * 60_000, final=False))
            server.health()
            assert process.memory_info().rss - before < 20_000_000


class TestFailures:
    def test_of_the_engine(self, server: Server) -> None:
        with session(server) as client:
            client.say("chunks=3 fail=1 one\nchunks=3 two\n")
            heard = client.until("session.done")
            (error,) = heard.of("error")
            assert (error["error"]["code"], error["utterance"]) == ("synthesis_failed", 0)
            assert heard.messages[-1]["complete"] is False
            assert (0, 1) not in heard.audio
            client.say("chunks=1 next")
            assert client.until("session.done").messages[-1]["complete"] is True

    def test_a_clause_with_nothing_to_say(self, server: Server) -> None:
        with session(server) as client:
            client.say("refuse=0 one\nchunks=1 two\n")
            heard = client.until("session.done")
        assert heard.kinds == ["error", "audio.start", "audio.done", "session.done"]
        assert heard.messages[0]["error"]["code"] == "unspeakable_text"

    def test_a_worker_that_dies_in_mid_utterance(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with Server(tmp_path) as server, session(server) as client:
            client.say(script.text)
            client.until_audio()
            (pid,) = server.worker_pids()
            os.kill(pid, signal.SIGKILL)
            heard = client.until("session.done")
            assert heard.of("error")[0]["error"]["code"] == "worker_died"
            assert heard.messages[-1]["complete"] is False
            wait_for(lambda: server.health() == "ok", "the successor")
            client.say("chunks=1 next")
            assert client.until("session.done").messages[-1]["complete"] is True

    def test_a_worker_that_dies_before_the_first_audio(self, tmp_path: Path) -> None:
        """The clause runs again on its successor, and the client notices nothing."""
        script = Script(tmp_path, die=0, once=tmp_path / "died")
        with Server(tmp_path) as server, session(server) as client:
            client.send("session.config", seed=3)
            client.say(script.text)
            assert client.until("session.done").audio == {(0, 0): expected_pcm(3, 3)}

    def test_no_place(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=0)
        with ExitStack() as stack:
            limits = {"limits": {"max_concurrency": 1, "max_waiting": 0}}
            server = stack.enter_context(Server(tmp_path, limits))
            one, other = (stack.enter_context(session(server)) for _ in range(2))
            one.say(script.text)
            script.await_event("gate")
            other.say("hello")
            heard = other.until("session.done")
            assert heard.of("error")[0]["error"]["code"] == "overloaded"
            one.send("input.cancel")
            one.until("input.cancelled")
            server.await_idle()
            other.say("hello")
            assert other.until("session.done").messages[-1]["complete"] is True


class TestLeaving:
    def test_a_client_that_goes_away_frees_its_streams(self, server: Server, tmp_path: Path) -> None:
        script, behind = Script(tmp_path, chunks=1_000_000), Script(tmp_path, "behind", at=0)
        with session(server) as client:
            client.say(line(script), line(behind))
            client.until_audio()
            behind.await_event("gate")
        for made in (script, behind):
            made.await_event("closed")
        server.await_idle()
        assert server.model_info()["buffered_bytes"] == 0

    def test_one_that_breaks_off(self, server: Server, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with session(server) as client:
            client.say(script.text)
            client.until_audio()
            client.connection.socket.shutdown(2)
            script.await_event("closed")
            server.await_idle()

    def test_one_that_never_reads(self, tmp_path: Path) -> None:
        """It holds no stream while its audio waits, and is cut off after the stall timeout."""
        script = Script(tmp_path, chunks=400, length=24_000)
        settings = {"server": {"client_stall_timeout_s": 2, "max_buffered_bytes": 64_000_000}}
        with Server(tmp_path, settings) as server, session(server, compression=None, max_queue=1) as client:
            client.say(script.text)
            script.await_event("end")
            wait_for(lambda: server.model_info()["running"] == 0, "a free stream")
            wait_for(lambda: server.logs("websocket closed"), "the end of the session")
            assert server.logs("websocket closed")[0]["outcome"] == "listener_stalled"
            assert server.model_info()["buffered_bytes"] == 0

    def test_an_idle_one_is_closed(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"websocket": {"idle_timeout_s": 0.3}}) as server, session(server) as client:
            assert client.until("error").messages[-1]["error"]["code"] == "idle_timeout"
            with pytest.raises(ConnectionClosed) as closed:
                client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001

    def test_one_that_listens_is_not_idle(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with Server(tmp_path, {"websocket": {"idle_timeout_s": 0.3}}) as server, session(server) as client:
            client.say(script.text)
            client.until_audio()
            with session(server) as clock:
                clock.until("error")
            script.open_gate()
            assert client.until("session.done").messages[-1]["complete"] is True

    def test_a_stop_lets_it_speak_out(self, tmp_path: Path) -> None:
        script = Script(tmp_path, at=1)
        with Server(tmp_path, {"server": {"shutdown_grace_s": 30}}) as server:
            with session(server) as client, session(server) as idle:
                client.say(script.text)
                client.until_audio()
                server.terminate()
                with pytest.raises(ConnectionClosed):
                    idle.receive()
                script.open_gate()
                assert client.until("session.done").messages[-1]["complete"] is True
                with pytest.raises(ConnectionClosed) as closed:
                    client.receive()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            assert server.wait_exit() == 0


class TestDoor:
    def test_keys(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"server": {"api_keys": ["key"]}}) as server:
            for query, headers in (("", {}), ("?api_key=wrong", {}), ("", {"Authorization": "Bearer wrong"})):
                with pytest.raises(InvalidStatus) as refused, session(server, query, headers):
                    pass
                assert refused.value.response.status_code == 401
                assert b"invalid_api_key" in (refused.value.response.body or b"")
            for query, headers in (("?api_key=key", {}), ("", {"Authorization": "Bearer key"})):
                with session(server, query, headers) as client:
                    client.say("chunks=1")
                    client.until("session.done")
            lines = wait_for(lambda: server.logs("speech"), "the lines")
            assert {entry["key"] for entry in lines} == {"key-1"}
            assert "api_key=key" not in server.output()

    def test_pages_of_other_sites(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"server": {"cors_origins": ["https://app.example.com"]}}) as server:
            with pytest.raises(InvalidStatus) as refused, session(server, origin="https://elsewhere.example.com"):
                pass
            assert refused.value.response.status_code == 403
            for origin in ("https://app.example.com", server.url, None):
                with session(server, origin=origin) as client:
                    client.send("input.cancel")
                    client.until("input.cancelled")

    def test_pages_are_strangers_by_default(self, server: Server) -> None:
        with pytest.raises(InvalidStatus) as refused, session(server, origin="null"):
            pass
        assert refused.value.response.status_code == 403

    def test_no_more_than_so_many(self, tmp_path: Path) -> None:
        with Server(tmp_path, {"websocket": {"max_connections": 1}}) as server:
            with session(server) as client:
                client.send("input.cancel")
                client.until("input.cancelled")
                assert "cosyserve_websocket_connections 1.0" in server.get("/metrics").text
                with pytest.raises(InvalidStatus) as refused, session(server):
                    pass
                assert refused.value.response.status_code == 503
                assert "retry-after" in refused.value.response.headers
            wait_for(lambda: "cosyserve_websocket_connections 0.0" in server.get("/metrics").text, "the end")
            with session(server) as client:
                client.send("input.cancel")
                client.until("input.cancelled")

    @pytest.mark.parametrize(
        "offer",
        [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits; server_max_window_bits=99",
            "permessage-deflate; server_max_window_bits=x, permessage-deflate",
            "x-webkit-deflate-frame",
            'é; =,,;"',
            "",
        ],
    )
    def test_no_extension_is_agreed_upon(self, server: Server, offer: str) -> None:
        """What is compressed has a size that nobody knows before it is there."""
        with connect(server) as connection:
            connection.sendall(upgrade(PATH, Sec_WebSocket_Extensions=offer))
            answer = receive_until(connection, b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert b"extensions" not in answer.lower()
            connection.sendall(frame(1, b"abc", reserved=0x40))
            assert received_until_the_end(connection)[2:4] == struct.pack(">H", 1002)

    def test_clients_that_offer_compression_do_without(self, server: Server) -> None:
        for compression in ("deflate", None):
            with session(server, compression=compression) as client:
                assert not client.connection.protocol.extensions
                client.send("session.config", seed=2)
                client.say("chunks=20 hello")
                heard = client.until("session.done")
            assert np.array_equal(np.frombuffer(heard.audio[0, 0], "<i2"), np.frombuffer(expected_pcm(2, 20), "<i2"))

    def test_frames_right_behind_the_request_are_not_lost(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(upgrade(PATH) + frame(1, b'{"type": "input.cancel"}'))
            receive_until(connection, b'"input.cancelled"')

    def test_what_is_no_handshake_leaves_nothing_behind(self, server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(upgrade(PATH, Sec_WebSocket_Version="12") + frame(1, b"abc"))
            assert received_until_the_end(connection).startswith(b"HTTP/1.1 400 ")

    def test_after_a_refusal_nothing_is_read(self, server: Server) -> None:
        """Were it, the answer to the ping would follow the close."""
        with connect(server) as connection:
            connection.sendall(upgrade(PATH))
            receive_until(connection, b"\r\n\r\n")
            connection.sendall(frame(1, b"x" * 60_000, final=False) + frame(0, b"x" * 60_000) + frame(9, b"ping"))
            assert received_until_the_end(connection) == b"\x88\x02" + struct.pack(">H", 1009)


def test_the_example_in_the_documents_runs(server: Server, tmp_path: Path) -> None:
    document = (ROOT / "docs/websocket.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    url = server.url.replace("http", "ws", 1) + PATH
    done = subprocess.run(
        [sys.executable, "-c", example, url], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "session.done" in done.stdout
    assert (tmp_path / "speech.pcm").stat().st_size == 2 * len(expected_pcm(0, 3))
