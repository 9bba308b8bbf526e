"""Bytes of which a client may want a part: single ranges (RFC 9110), which players seek with."""

import re

from starlette.datastructures import Headers
from starlette.responses import Response

from cosyserve.errors import RangeNotSatisfiable
from cosyserve.http.responses import error_response

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})", re.ASCII | re.IGNORECASE)


def ranged(asked: Headers, content: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """What is asked for of it. Several ranges, a wrong unit and If-Range get all of it, as they may."""
    headers = {**headers, "Accept-Ranges": "bytes"}
    found = _RANGE.fullmatch(asked.get("range", "").strip())
    if found is None or "if-range" in asked or not _is_valid(*found.groups()):
        return Response(content, media_type=media_type, headers=headers)
    return _part(found[1], found[2], content, media_type, headers)


def _is_valid(first: str, last: str) -> bool:
    return bool(first or last) and not (first and last and int(last) < int(first))


def _part(first: str, last: str, content: bytes, media_type: str, headers: dict[str, str]) -> Response:
    size = len(content)
    # Without a first byte, the other number is how many of the last ones are wanted.
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size:
        answer = error_response(RangeNotSatisfiable(f"there are {size} bytes"))
        answer.headers["Content-Range"] = f"bytes */{size}"
        answer.headers["Accept-Ranges"] = "bytes"
        return answer
    part = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
    return Response(content[start:end], 206, {**headers, **part}, media_type)
