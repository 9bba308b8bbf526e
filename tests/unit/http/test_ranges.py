"""Ranges of a file: one of them, none, and those that are no ranges."""

import pytest
from starlette.datastructures import Headers

from cosyserve.http.ranges import ranged

CONTENT = bytes(range(100))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, 100),
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("Bytes = 90-500", 90, 100),
        ("bytes=99-", 99, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-500", 0, 100),
        (f"bytes=5-{10**18}", 5, 100),
    ],
)
def test_a_part(asked: str, start: int, end: int) -> None:
    answer = ranged(Headers({"range": asked}), CONTENT, "audio/wav", {"X-Kept": "yes"})
    assert (answer.status_code, answer.body) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/100"
    assert answer.headers["content-length"] == str(end - start)
    assert (answer.headers["content-type"], answer.headers["x-kept"]) == ("audio/wav", "yes")


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={10**18}-"])
def test_beyond_the_end(asked: str) -> None:
    answer = ranged(Headers({"range": asked}), CONTENT, "audio/wav", {})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */100")
    assert b'"range_not_satisfiable"' in answer.body


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=0-1,5-6",
        "seconds=0-1",
        "bytes=a-b",
        "bytes=²-",
        "bytes=" + "9" * 99,
    ],
)
def test_what_is_ignored(asked: str) -> None:
    answer = ranged(Headers({"range": asked}), CONTENT, "audio/wav", {})
    assert (answer.status_code, answer.body, answer.headers["accept-ranges"]) == (200, CONTENT, "bytes")


def test_an_older_part_of_it_is_not_continued() -> None:
    """Which version the client has cannot be told."""
    answer = ranged(Headers({"range": "bytes=5-", "if-range": '"tag"'}), CONTENT, "audio/wav", {})
    assert (answer.status_code, answer.body) == (200, CONTENT)
