"""Recordings and the processes that decode them: what a bad one costs, and whom."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from cosyserve.audio.formats import AudioFormat
from tests import sounds
from tests.engines import expected_pcm
from tests.http.metering import read
from tests.http.wire import check_error
from tests.process.pools import gone
from tests.serving import ROOT, Script, Server, wait_for

STREAMS = 10
CHUNKS = 20
DECODE_S = 5
HELPERS = 2
VOICES = "/v1/audio/voices"
AUDIO = sounds.prompt()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a decoder that recordings command."""
    with Server(
        tmp_path_factory.mktemp("hostile"),
        env={"COSYTEST_DECODE_S": str(DECODE_S)},
        module="tests.serving_hostile",
        flags=("--log-level", "debug"),
    ) as server:
        yield server


def helper_pids(server: Server) -> list[int]:
    """Those that live."""
    return [child.pid for child in psutil.Process(server.pid).children() if is_helper(child)]


def is_helper(process: psutil.Process) -> bool:
    try:
        return "cosyserve.wire.helper_main" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def load(server: Server) -> tuple[int, int, int]:
    """Processes, threads and descriptors of the front end."""
    process = psutil.Process(server.pid)
    return len(process.children(recursive=True)), process.num_threads(), process.num_fds()


class TenStreams:
    """Streams that have begun, and do not end before they are let go."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._script = Script(folder, "streams", at=1, chunks=CHUNKS)
        with ExitStack() as open_streams:
            answers = [
                open_streams.enter_context(server.stream(text=self._script.text, seed=seed)) for seed in range(STREAMS)
            ]
            self._pieces = [answer.iter_bytes() for answer in answers]
            self._heard = [next(pieces) for pieces in self._pieces]
            self._streams = open_streams.pop_all()

    def end_whole(self) -> None:
        self._script.open_gate()
        with self._streams:
            for seed, pieces in enumerate(self._pieces):
                assert self._heard[seed] + b"".join(pieces) == expected_pcm(seed, CHUNKS)


class TestLosses:
    def test_a_helper_killed_in_the_middle_costs_its_upload_alone(self, hostile: Server, tmp_path: Path) -> None:
        streams, gate = TenStreams(hostile, tmp_path), tmp_path / "gate"
        with ThreadPoolExecutor(1) as threads:
            lost = threads.submit(hostile.post, VOICES, name="lost", audio_sample=AUDIO + f"hold={gate}".encode())
            wait_for(Path(f"{gate}.pid").exists, "the decoding to be under way")
            os.kill(int(Path(f"{gate}.pid").read_text()), signal.SIGKILL)
            message = check_error(lost.result(), 422, "invalid_prompt", "audio_sample")
        assert message == "the prompt cannot be decoded: it died"
        assert hostile.post(VOICES, name="kept", audio_sample=AUDIO).status_code == 201
        assert hostile.delete(f"{VOICES}/kept").status_code == 200
        streams.end_whole()

    @pytest.mark.parametrize(
        ("words", "says"),
        [("abort=1", "it died"), ("spin=1", f"longer than {DECODE_S} s"), ("hog=4000", "more memory than there is")],
    )
    def test_a_crash_or_an_excess_does_the_same(self, hostile: Server, tmp_path: Path, words: str, says: str) -> None:
        streams = TenStreams(hostile, tmp_path)
        workers, lost = hostile.worker_pids(), read(hostile, "cosyserve_helpers_lost_total")
        with ThreadPoolExecutor(4) as threads:
            audio = AUDIO + words.encode()
            for answer in [threads.submit(hostile.speak, text="hello", prompt_wav=audio) for _ in range(4)]:
                assert says in check_error(answer.result(), 422, "invalid_prompt", "prompt_wav")
        streams.end_whole()
        assert hostile.worker_pids() == workers
        # Too much memory is refused by the system to a process that lives on, mostly.
        assert read(hostile, "cosyserve_helpers_lost_total") - lost == 4 or words == "hog=4000"
        assert hostile.speak(text="hello", prompt_wav=AUDIO).status_code == 200
        assert hostile.logs("a helper was lost: it died") or words != "abort=1"

    def test_a_stored_voice_is_not_to_blame_for_its_decoder(self, tmp_path: Path) -> None:
        settings = {"voices": {"dir": str(tmp_path / "voices"), "max_cached_bytes": 0}}
        before, after = tmp_path / "before", tmp_path / "after"
        for folder in (before, after):
            folder.mkdir()
        with Server(before, settings) as server:
            assert server.post(VOICES, name="bob", audio_sample=AUDIO + b"abort=1").status_code == 201
        with Server(after, settings, module="tests.serving_hostile") as server:
            check_error(server.speak(text="hello", voice="bob"), 503, "no_decoder")

    def test_every_line_of_the_log_is_a_record(self, hostile: Server) -> None:
        seen = len(hostile.output())
        mp3 = bytearray(sounds.encode(sounds.sine(3, 24_000), 24_000, "MP3"))
        for place in range(2_000, len(mp3), 500):
            mp3[place : place + 40] = bytes(40)
        for audio in (bytes(mp3), AUDIO + b"babble=1"):
            assert hostile.speak(text="hello", prompt_wav=audio).status_code in {200, 422}
        wait_for(lambda: "no JSON on stderr" in hostile.output()[seen:], "what it printed")
        lines = hostile.output()[seen:].splitlines()
        assert [line for line in lines if not (line.startswith("{") and line.endswith("}"))] == []

    @pytest.mark.full
    def test_a_hundred_uploads_leave_nothing_behind(self, hostile: Server) -> None:
        with ThreadPoolExecutor(HELPERS) as threads:

            def send(number: int) -> int:
                words = b"abort=1" if number % 10 == 9 else b""
                return hostile.speak(text="chunks=1", prompt_wav=AUDIO + words).status_code

            list(threads.map(send, range(20)))
            hostile.await_idle()
            wait_for(lambda: len(helper_pids(hostile)) == HELPERS, "both helpers")
            before = load(hostile)
            assert sorted(threads.map(send, range(100))) == [200] * 90 + [422] * 10
        hostile.await_idle()
        wait_for(
            # Threads that have nothing to do leave.
            lambda: all(now <= then for now, then in zip(load(hostile), before, strict=True)),
            f"{before} processes, threads and descriptors",
        )

    def test_idle_helpers_that_die_cost_nothing(self, hostile: Server) -> None:
        assert hostile.speak(text="hello", prompt_wav=AUDIO).status_code == 200
        pids = helper_pids(hostile)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for _ in range(HELPERS + 1):
            assert hostile.speak(text="hello", prompt_wav=AUDIO).status_code == 200
        assert not set(pids) & set(helper_pids(hostile))


class TestFormats:
    @pytest.mark.parametrize("audio_format", [each for each in AudioFormat if each is not AudioFormat.PCM])
    def test_an_answer_can_be_sent_back(self, server: Server, audio_format: AudioFormat) -> None:
        """The scripted engine's is noise, and loud enough."""
        answer = server.speak(text="chunks=30", format=audio_format, sample_rate=24_000)
        assert answer.status_code == 200
        assert server.speak(text="hello", prompt_wav=answer.content).status_code == 200

    @pytest.mark.parametrize(
        ("container", "codec", "media_type"),
        [
            ("webm", "libopus", "audio/webm"),
            ("ipod", "aac", "audio/mp4"),
            ("mp4", "aac", "audio/mp4"),
            ("adts", "aac", "audio/aac"),
        ],
    )
    def test_what_browsers_and_phones_record_becomes_a_voice(
        self, server: Server, container: str, codec: str, media_type: str
    ) -> None:
        audio = sounds.recorded(sounds.sine(2, 48_000), 48_000, container, codec)
        assert server.post(VOICES, name="phone", audio_sample=audio).status_code == 201
        heard = server.get(f"{VOICES}/phone/audio")
        assert (heard.content, heard.headers["content-type"]) == (audio, media_type)
        assert server.speak(text="hello", voice="phone").status_code == 200
        assert server.delete(f"{VOICES}/phone").status_code == 200


class TestFrontEnd:
    def test_has_no_decoder_in_it(self, tmp_path: Path) -> None:
        with Server(tmp_path) as server:
            for audio in (AUDIO, sounds.recorded(sounds.sine(2, 48_000), 48_000, "webm", "libopus"), b"junk"):
                server.speak(text="hello", prompt_wav=audio)
            mapped = Path(f"/proc/{server.pid}/maps").read_text()
            assert "libsndfile" not in mapped
            assert "libavcodec" not in mapped
            assert "libsndfile" in Path(f"/proc/{helper_pids(server)[0]}/maps").read_text()

    def test_is_not_swollen_by_recordings_that_are(self, tmp_path: Path) -> None:
        """17 kB a piece that are 23 MB of samples at their own rate, and 5.8 MB at the one that is kept."""
        click = np.zeros(int(29.9 * 192_000), np.float32)
        click[100_000] = 0.9
        audio, uploads = sounds.encode(click, 192_000, "FLAC"), 20
        assert len(audio) < 100_000
        script = Script(tmp_path, at=0)
        with Server(tmp_path) as server, ThreadPoolExecutor(uploads) as threads:
            server.speak(text="hello", prompt_wav=audio)
            process = psutil.Process(server.pid)
            before = process.memory_info().rss
            waiting = [threads.submit(server.speak, text=script.text, prompt_wav=audio) for _ in range(uploads)]
            wait_for(lambda: (info := server.model_info())["running"] + info["waiting"] == uploads, "all of them")
            swollen = process.memory_info().rss - before
            script.open_gate()
            assert {answer.result().status_code for answer in waiting} == {200}
        assert swollen < uploads * 9 * 2**20

    def test_says_what_is_wrong_with_the_configured_prompt_in_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "config.toml").write_text('[server]\nport = 0\n[defaults]\nprompt_wav = "broken.wav"\n')
        (tmp_path / "broken.wav").write_bytes(b"junk")
        done = subprocess.run(
            [sys.executable, "-m", "cosyserve", "serve", "--engine", "demo"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("cosyserve: defaults.prompt_wav = ")
        assert "not audio that can be read" in line

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_takes_its_helpers_with_it(self, tmp_path: Path, number: int) -> None:
        gate = tmp_path / "gate"
        with Server(tmp_path, module="tests.serving_hostile") as server, ThreadPoolExecutor(1) as threads:
            held = threads.submit(
                httpx.post,
                f"{server.url}/synthesize",
                data={"text": "hello"},
                files={"prompt_wav": AUDIO + f"hold={gate}".encode()},
                timeout=60,
                trust_env=False,
            )
            wait_for(Path(f"{gate}.pid").exists, "the decoding to be under way")
            pids = [int(Path(f"{gate}.pid").read_text()), *helper_pids(server)]
            server.signal(number)
            assert server.wait_exit() == (0 if number == signal.SIGTERM else -signal.SIGKILL)
            wait_for(lambda: all(gone(pid) for pid in pids), "them to be gone")
            if number == signal.SIGTERM:
                check_error(held.result(), 503, "stopping")
            else:
                assert isinstance(held.exception(), httpx.TransportError)
