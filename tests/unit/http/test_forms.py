"""Forms as they come over the wire: whole, broken, too large."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message

from cosyserve.errors import MalformedForm, UploadTooLarge
from cosyserve.http.bodies import BodyLimits
from cosyserve.http.forms import read_form

STALL_S = 30.0
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=cut"


def request(body: Iterable[bytes], content_type: str, length: int | None = None) -> Request:
    """A request whose body comes in these pieces; reading on past the last one is an error."""
    headers = {"content-type": content_type} | ({} if length is None else {"content-length": str(length)})
    pieces = list(body)
    messages = iter(
        [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        + [{"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive() -> Message:
        return next(messages)

    return Request({"type": "http", "method": "POST", "headers": Headers(headers).raw}, receive)


def read(body: Iterable[bytes], content_type: str, limit: int = 10_000, length: int | None = None) -> dict[str, Any]:
    return asyncio.run(read_form(request(body, content_type, length), BodyLimits(limit, STALL_S)))


def multipart(**fields: str) -> bytes:
    parts = (
        f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()
    )
    return "".join([*parts, "--cut--\r\n"]).encode()


def endless(pieces: Iterable[bytes], content_type: str) -> Request:
    """A body without an end; asking for more of it than `pieces` fails the test."""
    remaining = iter(pieces)

    async def receive() -> Message:
        return {"type": "http.request", "body": next(remaining), "more_body": True}

    return Request({"type": "http", "method": "POST", "headers": Headers({"content-type": content_type}).raw}, receive)


class TestReading:
    @given(st.dictionaries(st.text(min_size=1), st.text(), max_size=10), st.data())
    def test_urlencoded_comes_back_as_it_was(self, fields: dict[str, str], data: st.DataObject) -> None:
        body = urlencode(fields, errors="replace").encode()
        cut = data.draw(st.integers(0, len(body)))
        expected = {key.encode(errors="replace").decode(): text.encode(errors="replace").decode()
                    for key, text in fields.items()}  # fmt: skip
        assert read([body[:cut], body[cut:]], URLENCODED, limit=1_000_000) == expected

    @pytest.mark.parametrize("cut", range(0, 120, 10))
    def test_multipart_in_pieces(self, cut: int) -> None:
        body = multipart(text="你好", speed="1.5")
        assert read([body[:cut], body[cut:]], MULTIPART) == {"text": "你好", "speed": "1.5"}

    @given(st.binary(max_size=300), st.sampled_from([URLENCODED, MULTIPART]))
    @example(b"--cut\r\n\r\n", MULTIPART)
    @example(b"--cut--", MULTIPART)
    @example(b"--cut\r\nContent-Disposition: form-data; name*=x''%ff\r\n\r\nx\r\n--cut--\r\n", MULTIPART)
    def test_garbage_is_a_form_or_a_rejection(self, body: bytes, content_type: str) -> None:
        with contextlib.suppress(MalformedForm):
            read([body], content_type)

    @given(st.integers(0, 104), st.binary(min_size=1, max_size=3))
    def test_a_damaged_multipart_is_a_form_or_a_rejection(self, position: int, damage: bytes) -> None:
        body = bytearray(multipart(text="hello", speed="1"))
        body[position : position + len(damage)] = damage
        with contextlib.suppress(MalformedForm):
            read([bytes(body)], MULTIPART)

    @pytest.mark.parametrize("size", range(len(multipart(text="hello")) - 4))
    def test_a_truncated_multipart_is_rejected(self, size: int) -> None:
        with pytest.raises(MalformedForm):
            read([multipart(text="hello")[:size]], MULTIPART)

    @pytest.mark.parametrize("content_type", ["", "application/json", "text/plain", "multipart/mixed; boundary=cut"])
    def test_other_types_are_rejected_and_named(self, content_type: str) -> None:
        with pytest.raises(MalformedForm, match=content_type.partition(";")[0] or "no stated type"):
            read([b"text=hello"], content_type)

    @pytest.mark.parametrize("content_type", [URLENCODED, MULTIPART])
    def test_a_declared_length_over_the_limit_is_rejected_unread(self, content_type: str) -> None:
        unread = request([], content_type, length=101)
        with pytest.raises(UploadTooLarge, match="100 bytes"):
            asyncio.run(read_form(unread, BodyLimits(100, STALL_S)))

    @pytest.mark.parametrize(("content_type", "start"), [(URLENCODED, b"text="), (MULTIPART, multipart(text="x")[:60])])
    def test_what_comes_is_counted(self, content_type: str, start: bytes) -> None:
        """The last piece is over the limit; nothing is asked for after it."""
        with pytest.raises(UploadTooLarge):
            asyncio.run(
                read_form(endless([start, b"x" * 40, b"x"], content_type), BodyLimits(len(start) + 40, STALL_S))
            )

    def test_up_to_the_limit(self) -> None:
        body = b"text=" + b"x" * 95
        assert read([body], URLENCODED, limit=100, length=100) == {"text": "x" * 95}

    def test_at_most_a_hundred_fields(self) -> None:
        fields = {f"f{number}": "x" for number in range(101)}
        for body, content_type in ((urlencode(fields).encode(), URLENCODED), (multipart(**fields), MULTIPART)):
            with pytest.raises(MalformedForm):
                read([body], content_type, limit=100_000)
