"""WAV as it streams: where its samples begin, and the lengths that its header could not tell."""

import os
from typing import IO

from cosyserve.client.order import SayError

UNKNOWN_SIZE = 0xFFFFFFFF
"""What a streamed WAV header says where the length is not known yet."""
HEAD_BYTES = 4096
"""How much of an answer is kept to find the WAV header's end in: the header itself is 44 bytes or little more."""


def data_start(head: bytes) -> int:
    """Offset of a WAV file's first sample: RIFF chunks are skipped until `data`. Raises SayError."""
    at = 12 if head[:4] == b"RIFF" and head[8:12] == b"WAVE" else len(head)
    while at + 8 <= len(head):
        if head[at : at + 4] == b"data":
            return at + 8
        size = int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    raise SayError("the server's answer is not WAV, though that was asked for: try --format pcm")


def fill_in_sizes(file: IO[bytes]) -> None:
    """Put the true lengths into the header of a streamed WAV file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    data = data_start(file.read(HEAD_BYTES))
    for at, length in ((4, size - 8), (data - 4, size - data)):
        file.seek(at)
        if file.read(4) == UNKNOWN_SIZE.to_bytes(4, "little") and length < UNKNOWN_SIZE:
            file.seek(at)
            file.write(length.to_bytes(4, "little"))
    file.flush()
