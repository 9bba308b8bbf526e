"""Whether a file of weights is whole, told by its own format: nothing is loaded to find out.

A download that was broken off, or a page of HTML under a model's name, is told from a model; a flipped bit is not.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import BinaryIO

ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
"""What files of torch before 1.6 begin with. They do not tell their length."""
LONGEST_HEADER = 2**27
LONGEST_VARINT = 10
"""Bytes: 64 bits, 7 in each."""


def is_damaged(path: Path) -> bool:
    """Whether `path` ends too early or is not what its suffix says. False where the format cannot tell.

    Raises OSError.
    """
    with path.open("rb") as file:
        match path.suffix:
            case ".pt":
                return not _is_torch(file)
            case ".onnx":
                return not _is_protobuf(file)
            case ".safetensors":
                return not _is_safetensors(file)
    return False


def _is_torch(file: BinaryIO) -> bool:
    head = file.read(len(ZIP))
    # Its table of contents is at its end.
    return zipfile.is_zipfile(file) if head == ZIP else head.startswith(PICKLE)


def _is_safetensors(file: BinaryIO) -> bool:
    """A length, a header of that length, and as many bytes as the header promises."""
    size = _size(file)
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, LONGEST_HEADER):
        return False
    try:
        header: dict[str, dict[str, list[int]]] = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    return size == 8 + length + max(ends, default=0)


def _is_protobuf(file: BinaryIO) -> bool:
    """Fields one after the other, the last of which ends where the file does. Only their lengths are read."""
    size = _size(file)
    while file.tell() < size:
        key = _varint(file)
        match -1 if key is None else key & 7:
            case 0:
                length = 0 if _varint(file) is not None else None
            case 1:
                length = 8
            case 2:
                length = _varint(file)
            case 5:
                length = 4
            case _:
                return False
        if length is None or length > size:
            return False
        file.seek(length, io.SEEK_CUR)
    return file.tell() == size


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for place in range(LONGEST_VARINT):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            return value
    return None


def _size(file: BinaryIO) -> int:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size
