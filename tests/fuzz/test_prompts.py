"""Recordings of every format, damaged where decoders read first: audio, or a refusal, by each of the ways in."""

import base64
import io
import json

import av
import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests import sounds
from tests.fuzz.exploring import examples, explore
from tests.fuzz.values import mutated
from tests.fuzz.witness import Witness
from tests.http.wire import MULTIPART, head, post_form

RATE = 24_000
SOUND = sounds.sine(1.2, RATE)
BY_LIBSNDFILE = [
    ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "FLOAT"), ("WAV", "ALAW"), ("WAV", "MS_ADPCM"), ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("VOC", "PCM_16"),
    ("NIST", "PCM_16"),
    ("HTK", "PCM_16"), ("SDS", "PCM_16"), ("AVR", "PCM_16"), ("SVX", "PCM_16"), ("IRCAM", "PCM_16"), ("MAT5", "PCM_16"),
    ("PVF", "PCM_16"), ("XI", "DPCM_16"),
]  # fmt: skip
BY_FFMPEG = [
    ("webm", "libopus"), ("webm", "libvorbis"), ("mp4", "aac"), ("ipod", "aac"), ("adts", "aac"), ("matroska", "flac"),
    ("mov", "pcm_s16le"), ("mpegts", "aac"), ("ogg", "libopus"), ("flac", "flac"), ("3gp", "aac"), ("avi", "mp3"),
]  # fmt: skip


def by_ffmpeg(container: str, codec: str) -> bytes:
    """As browsers and phones record; b"" where this FFmpeg cannot."""
    content = io.BytesIO()
    try:
        with av.open(content, "w", format=container) as file:
            stream = file.add_stream(codec, rate=48_000)
            assert isinstance(stream, av.AudioStream)
            stream.layout = "mono"
            samples = np.rint(sounds.sine(1.2, 48_000) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "s16", "mono")
            frame.sample_rate = 48_000
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    except (av.FFmpegError, ValueError):
        return b""
    return content.getvalue()


def wholes() -> list[bytes]:
    """One file of each format."""
    recordings = [sounds.encode(SOUND, RATE, kind, subtype) for kind, subtype in BY_LIBSNDFILE]
    recordings += filter(None, (by_ffmpeg(container, codec) for container, codec in BY_FFMPEG))
    return [
        *recordings,
        sounds.encode(np.stack([SOUND] * 8, 1), RATE),
        sounds.encode(sounds.sine(1.2, 192_000), 192_000, "FLAC"),
    ]


def by_synthesize(audio: bytes) -> bytes:
    return post_form(text=b"hello", prompt_wav=audio)


def by_voices(audio: bytes) -> bytes:
    """Under a name that is never free, so that nothing is stored: it is decoded before that is seen."""
    content = post_form(name=b"default", audio_sample_wav=audio).replace(b'"audio_sample_wav"', b'"audio_sample"')
    _, _, body = content.partition(b"\r\n\r\n")
    return head("POST /v1/audio/voices HTTP/1.1", Content_Type=MULTIPART, Content_Length=str(len(body))) + body


def by_json(audio: bytes) -> bytes:
    body = json.dumps(
        {"input": "hello", "response_format": "pcm", "ref_audio": base64.b64encode(audio).decode()}
    ).encode()
    line = "POST /v1/audio/speech HTTP/1.1"
    return head(line, Content_Type="application/json", Content_Length=str(len(body))) + body


WAYS = (by_synthesize, by_voices, by_json)


def recordings() -> SearchStrategy[bytes]:
    return mutated(st.sampled_from(wholes()))


@examples(60, 5000)
def test_damaged(witness: Witness, count: int) -> None:
    explore(st.tuples(st.sampled_from(WAYS), recordings()), count, lambda case: witness.asked(case[0](case[1])))


def test_whole(witness: Witness) -> None:
    """The seeds of all this are what they seem: most are taken, and the rest refused."""
    taken = [witness.asked(by_synthesize(whole)) for whole in wholes()]
    assert sum(taken) > len(taken) // 4
