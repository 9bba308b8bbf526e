"""JSON as clients write it: kept from sprawling, and forgiven half a surrogate pair."""

import json

MAX_MARKS = 50_000
"""Commas, colons and brackets. Each may stand for a value of a hundred bytes, and takes a microsecond to read."""
_MARKS = (b",", b":", b"[", b"{")


def sprawls(raw: bytes | bytearray) -> bool:
    """Whether it has more values than any request needs; told without reading it."""
    return sum(map(raw.count, _MARKS)) > MAX_MARKS


def without_halves(raw: bytes | bytearray) -> bytes | bytearray:
    r"""The same without the halves of surrogate pairs that stand alone (`\ud83d`), which no text can have.

    Clients cut their text by UTF-16 units. What is no JSON is left as it is, for the reader to say why.
    """
    if b"\\ud" not in raw and b"\\uD" not in raw:
        return raw
    try:
        return json.dumps(json.loads(raw), ensure_ascii=False).encode("utf-8", "ignore")
    except (ValueError, RecursionError):
        return raw
