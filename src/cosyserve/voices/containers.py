"""What kind of file a recording is, told by its first bytes."""

from typing import NamedTuple

_ID3_HEADER = 10


class Container(NamedTuple):
    """media_type: what to call it. demuxer: FFmpeg's name for it, where FFmpeg may read it; "" elsewhere."""

    media_type: str
    demuxer: str = ""


READ = "WAV, FLAC, OGG, MP3, M4A, MP4, WEBM or AAC"
"""What recordings may be, in words."""
UNKNOWN = Container("application/octet-stream")
MP3 = Container("audio/mpeg")
AAC = Container("audio/aac", "aac")
_BY_MAGIC = (
    (0, b"RIFF", Container("audio/wav")),
    (0, b"RF64", Container("audio/wav")),
    (0, b"FORM", Container("audio/aiff")),
    (0, b"fLaC", Container("audio/flac", "flac")),
    (0, b"OggS", Container("audio/ogg", "ogg")),
    (0, b"\x1aE\xdf\xa3", Container("audio/webm", "webm")),
    (4, b"ftyp", Container("audio/mp4", "mp4")),
)
MEDIA_TYPES = tuple(dict.fromkeys(kind.media_type for kind in (*(row[2] for row in _BY_MAGIC), MP3, AAC, UNKNOWN)))


def container_of(audio: bytes) -> Container:
    """A guess that costs nothing: the file may still be broken, or no sound."""
    for place, magic, container in _BY_MAGIC:
        if audio[place : place + len(magic)] == magic:
            return container
    start = _id3_bytes(audio)
    return _mpeg(audio[start : start + 2]) or (MP3 if audio[:3] == b"ID3" else UNKNOWN)


def _mpeg(start: bytes) -> Container | None:
    """By the first frame's sync word and layer; layer 0 is AAC's in ADTS."""
    if len(start) < 2 or start[0] != 0xFF or start[1] & 0xE0 != 0xE0:
        return None
    return AAC if start[1] & 0xF6 == 0xF0 else MP3


def _id3_bytes(audio: bytes) -> int:
    """How long the tag before the sound is; its length has seven bits a byte."""
    if audio[:3] != b"ID3" or len(audio) < _ID3_HEADER:
        return 0
    size = 0
    for byte in audio[6:_ID3_HEADER]:
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER + size
