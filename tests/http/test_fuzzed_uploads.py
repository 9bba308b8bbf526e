"""Recordings that are none, or lie: each a clear refusal or audio, with memory bounded and no worker touched."""

import base64
import functools
import io
import random
import struct
from collections.abc import Iterator

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from tests import sounds
from tests.http.wire import check_error
from tests.serving import Server

SOUND = sounds.sine(1.5, 24_000)
WHOLE = {kind: sounds.encode(SOUND, 24_000, kind) for kind in ("WAV", "FLAC", "OGG", "MP3", "AIFF")} | {
    "WEBM": sounds.recorded(SOUND, 24_000, "webm", "libopus"),
    "M4A": sounds.recorded(SOUND, 24_000, "ipod", "aac"),
    "AAC": sounds.recorded(SOUND, 24_000, "adts", "aac"),
}
REFUSALS = {"invalid_prompt", "invalid_field"}
MEMORY_BYTES = 400 << 20
"""What the server may grow by: the longest recording there may be takes 23 MB a request, decoded, and is copied."""


@functools.cache
def silence(kind: str) -> bytes:
    """Ten minutes of nothing: 58 MB once it is decoded. In blocks, for libsndfile's Vorbis encoder cannot at once."""
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", 24_000, 1, format=kind) as audio:
        for _ in range(600):
            audio.write(np.zeros(24_000, np.float32))
    return content.getvalue()


SILENT = ("FLAC", "OGG", "MP3")


def noise(dice: random.Random) -> bytes:
    return dice.randbytes(dice.choice([1, 12, 44, 100, 4_000, 200_000]))


def noise_behind_a_magic_word(dice: random.Random) -> bytes:
    size = struct.pack("<I", dice.getrandbits(32))
    words = [
        b"RIFF" + size + b"WAVEfmt ",
        b"fLaC",
        b"OggS\0\2",
        b"ID3\4\0\0",
        b"\xff\xfb\x90\x44",
        b"FORM" + size + b"AIFF",
        b"\x1aE\xdf\xa3",
        b"\0\0\0\x20ftypM4A ",
        b"\xff\xf1\x50\x40",
    ]
    return dice.choice(words) + noise(dice)


def cut_short(dice: random.Random) -> bytes:
    audio = WHOLE[dice.choice(list(WHOLE))]
    return audio[: dice.randrange(1, len(audio))]


def damaged(dice: random.Random) -> bytes:
    audio = bytearray(WHOLE[dice.choice(list(WHOLE))])
    for _ in range(dice.choice([1, 3, 30])):
        audio[dice.randrange(min(len(audio), dice.choice([64, 4_000, 10**9])))] = dice.randrange(256)
    return bytes(audio)


def lying_wav(dice: random.Random) -> bytes:
    """A header whose every number may be wrong, in front of true samples."""
    kind, channels = dice.choice([1, 3, 17, 85, 0xFFFE, 0]), dice.choice([1, 2, 8, 0, 0xFFFF])
    rate = dice.choice([24_000, 0, 1, 15_999, 192_000, 2**31, 2**32 - 1])
    frame, bits = dice.choice([2, 4, 0, 0xFFFF]), dice.choice([8, 16, 24, 32, 0, 0xFFFF])
    size = dice.choice([0, 1, 72_000, 2**31 - 1, 2**31, 2**32 - 1])
    form = struct.pack("<4sIHHIIHH", b"fmt ", dice.choice([16, 18, 40, 2**31]), kind, channels, rate,
                       dice.getrandbits(32), frame, bits)  # fmt: skip
    head = struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + form + struct.pack("<4sI", b"data", size)
    return head + WHOLE["WAV"][44 : dice.choice([44, 45, 1_000, len(WHOLE["WAV"])])]


def lying_flac(dice: random.Random) -> bytes:
    """STREAMINFO with another rate, another number of channels and of samples."""
    audio = bytearray(WHOLE["FLAC"])
    audio[18:26] = struct.pack(">Q", dice.getrandbits(64))
    return bytes(audio)


def bomb(dice: random.Random) -> bytes:
    """Much audio in few bytes, silent or not, and perhaps with a damaged head."""
    audio = bytearray(silence(dice.choice(SILENT)))
    if dice.random() < 0.5:
        audio[dice.randrange(200)] ^= 1 << dice.randrange(8)
    return bytes(audio)


def two_in_one(dice: random.Random) -> bytes:
    return cut_short(dice) + cut_short(dice)


KINDS = (noise, noise_behind_a_magic_word, cut_short, damaged, lying_wav, lying_flac, bomb, two_in_one)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("fuzzed")) as server:
        server.speak(text="hello", prompt_wav=WHOLE["MP3"])
        yield server


def send(server: Server, client: httpx.Client, dice: random.Random, audio: bytes) -> httpx.Response:
    """By one of the three ways in which a recording can come."""
    match dice.randrange(3):
        case 0:
            files = {"prompt_wav": ("voice.wav", audio)}
            return client.post(f"{server.url}/synthesize", data={"text": "chunks=1"}, files=files)
        case 1:
            name = f"v{dice.getrandbits(60)}"
            answer = client.post(f"{server.url}/v1/audio/voices", data={"name": name}, files={"audio_sample": audio})
            if answer.status_code == 201:
                assert client.delete(f"{server.url}/v1/audio/voices/{name}").status_code == 200
            return answer
        case _:
            body = {"input": "chunks=1", "ref_audio": base64.b64encode(audio).decode(), "response_format": "pcm"}
            return client.post(f"{server.url}/v1/audio/speech", json=body)


def check(answer: httpx.Response, audio: bytes, seed: int) -> bool:
    """Whether it was taken."""
    if answer.status_code in {200, 201}:
        assert answer.content
        return True
    assert answer.status_code == 422, (seed, answer.status_code, answer.text, audio[:100])
    error = answer.json()["error"]
    assert error["code"] in REFUSALS, (seed, error)
    assert error["param"] in {"prompt_wav", "audio_sample", "ref_audio"}
    return False


def fuzz(server: Server, cases: int) -> int:
    """Send so many. Returns how many were taken for recordings."""
    process = psutil.Process(server.pid)
    before, seen = process.memory_info().rss, len(server.output())
    pids, taken, peak = server.worker_pids(), 0, 0
    with httpx.Client(timeout=60, trust_env=False) as client:
        for seed in range(cases):
            dice = random.Random(seed)
            audio = KINDS[seed % len(KINDS)](dice)
            taken += check(send(server, client, dice, audio), audio, seed)
            peak = max(peak, process.memory_info().rss)
    assert peak - before < MEMORY_BYTES
    assert server.worker_pids() == pids
    assert '"level": "error"' not in server.output()[seen:]
    assert server.speak(text="hello").status_code == 200
    return taken


def test_a_hundred(fuzzed: Server) -> None:
    assert 0 < fuzz(fuzzed, 100) < 100


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_thousand(fuzzed: Server) -> None:
    assert 0 < fuzz(fuzzed, 1_000) < 1_000


@pytest.mark.parametrize("kind", SILENT)
def test_a_bomb_ends_where_the_limit_is(fuzzed: Server, kind: str) -> None:
    answer = fuzzed.speak(text="hello", prompt_wav=silence(kind))
    assert "longer than 30 s" in check_error(answer, 422, "invalid_prompt", "prompt_wav")
