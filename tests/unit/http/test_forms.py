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

from cosyserve.errors import MalformedForm, TextTooLong, UploadTooLarge
from cosyserve.http.bodies import BodyLimits
from cosyserve.http.forms import read_form
from cosyserve.speech.intake import Intake, IntakeBudget

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
    return read_within(request(body, content_type, length), BodyLimits(limit, STALL_S))


def read_within(sent: Request, limits: BodyLimits) -> dict[str, Any]:
    return asyncio.run(read_form(sent, limits, Intake(IntakeBudget(limits.max_bytes), None)))


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
            read_within(unread, BodyLimits(100, STALL_S))

    @pytest.mark.parametrize(("content_type", "start"), [(URLENCODED, b"text="), (MULTIPART, multipart(text="x")[:60])])
    def test_what_comes_is_counted(self, content_type: str, start: bytes) -> None:
        """The last piece is over the limit; nothing is asked for after it."""
        with pytest.raises(UploadTooLarge):
            read_within(endless([start, b"x" * 40, b"x"], content_type), BodyLimits(len(start) + 40, STALL_S))

    def test_up_to_the_limit(self) -> None:
        body = b"text=" + b"x" * 95
        assert read([body], URLENCODED, limit=100, length=100) == {"text": "x" * 95}

    def test_at_most_a_hundred_fields(self) -> None:
        fields = {f"f{number}": "x" for number in range(101)}
        for body, content_type in ((urlencode(fields).encode(), URLENCODED), (multipart(**fields), MULTIPART)):
            with pytest.raises(MalformedForm):
                read([body], content_type, limit=100_000)

    def test_texts_have_a_limit_of_their_own(self) -> None:
        limits = BodyLimits(1000, STALL_S, max_text_bytes=100)
        fields = {"text": "x" * 60, "prompt_text": "y" * 41}
        with pytest.raises(TextTooLong) as refused:
            read_within(endless([multipart(**fields)], MULTIPART), limits)
        assert refused.value.param == "prompt_text"
        with pytest.raises(UploadTooLarge):
            read_within(endless([b"text=" + b"x" * 96], URLENCODED), limits)
        with pytest.raises(UploadTooLarge):
            read_within(request([], URLENCODED, length=101), limits)


def part(content: bytes, disposition: bytes = b'form-data; name="text"', content_type: bytes = b"") -> bytes:
    """A form of one part."""
    told = b"\r\nContent-Type: " + content_type if content_type else b""
    return b"--cut\r\nContent-Disposition: " + disposition + told + b"\r\n\r\n" + content + b"\r\n--cut--\r\n"


class TestCharsets:
    @pytest.mark.parametrize(
        ("charset", "codec"),
        [("GBK", "gbk"), ("gb2312", "gb2312"), ("gb18030", "gb18030"), ("UTF-8", "utf-8"), ('"utf8"', "utf-8")],
    )
    def test_as_told(self, charset: str, codec: str) -> None:
        text = "你好".encode(codec)
        assert read([part(text)], f"{MULTIPART}; charset={charset}") == {"text": "你好"}
        assert read([part(text, content_type=b"text/plain; charset=" + charset.encode())], MULTIPART) == {
            "text": "你好"
        }
        assert read([b"text=" + text], f"{URLENCODED}; charset={charset}") == {"text": "你好"}

    @pytest.mark.parametrize("place", ["first", "last"])
    def test_as_the_form_says_in_a_field(self, place: str) -> None:
        told = b'--cut\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\nGBK\r\n'
        text = part("你好".encode("gbk"))
        body = told + text if place == "first" else text.removesuffix(b"--cut--\r\n") + told + b"--cut--\r\n"
        assert read([body], f"{MULTIPART}; charset=utf-8") == {"text": "你好", "_charset_": "GBK"}
        pairs = [("_charset_", "gbk"), ("text", "你好")]
        body = urlencode(pairs if place == "first" else pairs[::-1], encoding="gbk").encode()
        assert read([body], URLENCODED) == {"text": "你好", "_charset_": "gbk"}
        assert read([b"_charset_=gbk&text=" + "你好".encode("gbk")], URLENCODED)["text"] == "你好"

    def test_a_field_that_tells_no_charset(self) -> None:
        for body, kind in ((multipart(text="x", _charset_="rot13"), MULTIPART), (b"_charset_=rot13", URLENCODED)):
            with pytest.raises(MalformedForm, match="charset"):
                read([body], kind)
        assert read([b"text=a_charset_=b"], URLENCODED) == {"text": "a_charset_=b"}

    @pytest.mark.parametrize("charset", ["iso-8859-1", "latin1", "ISO-8859-15", "windows-1252"])
    def test_latin(self, charset: str) -> None:
        assert read([part(b"caf\xe9")], f"{MULTIPART}; charset={charset}") == {"text": "café"}

    def test_the_parts_own_goes_before_the_forms(self) -> None:
        body = part("你好".encode(), content_type=b"text/plain; charset=utf-8")
        assert read([body], f"{MULTIPART}; charset=gbk") == {"text": "你好"}

    @pytest.mark.parametrize(
        "charset",
        ["punycode", "idna", "undefined", "utf-7", "utf-16", "rot13", "unicode_escape", "hex", "zlib", "x" * 5000, "é"],
    )
    def test_what_is_no_forms_charset(self, charset: str) -> None:
        with pytest.raises(MalformedForm, match="charset"):
            read([part(b"hello")], f"{MULTIPART}; charset={charset}")
        with pytest.raises(MalformedForm, match="charset"):
            read([part(b"hello")], f"{MULTIPART}; charset=utf-8; charset={charset}")
        with pytest.raises(MalformedForm, match="charset"):
            read([part(b"hello", content_type=f"text/plain; charset={charset[:900]}".encode())], MULTIPART)
        with pytest.raises(MalformedForm, match="charset"):
            read([b"text=hello"], f"{URLENCODED}; charset={charset}")

    @pytest.mark.parametrize("text", ["你好".encode("gbk"), b"\xff", b"\xed\xa0\xbd", b"caf\xe9"])
    def test_text_that_does_not_decode(self, text: bytes) -> None:
        with pytest.raises(MalformedForm, match="text is not UTF-8"):
            read([part(text)], MULTIPART)
        with pytest.raises(MalformedForm, match="UTF-8"):
            read([b"text=" + text], URLENCODED)

    @given(st.text(max_size=60), st.binary(max_size=60))
    def test_any_charset_is_a_form_or_a_rejection(self, charset: str, text: bytes) -> None:
        with contextlib.suppress(MalformedForm):
            read([part(text)], f"{MULTIPART}; charset={charset.encode('ascii', 'ignore').decode()}")


class TestFilenames:
    @pytest.mark.parametrize(
        "disposition",
        [
            b"form-data; name=\"v\"; filename*=UTF-8''%E4%BD%A0.wav",
            b"form-data; filename*=UTF-8''a.wav; name=\"v\"",
            b"form-data; name=v; FileName* = utf-8'en'a.wav",
            b'form-data; name="v"; filename="a.wav"; filename*=UTF-8\'\'a.wav',
        ],
    )
    def test_a_file_by_any_name(self, disposition: bytes) -> None:
        upload = read([part(b"RIFF", disposition)], MULTIPART)["v"]
        with upload.file as file:
            assert file.read() == b"RIFF"
        assert upload.filename

    def test_one_without_a_name(self) -> None:
        upload = read([part(b"", b"form-data; name=v; filename*=UTF-8''")], MULTIPART)["v"]
        upload.file.close()
        assert upload.filename == ""

    def test_a_name_in_quotes_is_no_filename(self) -> None:
        disposition = b'form-data; name="a; filename*=b"'
        assert read([part(b"hello", disposition)], MULTIPART) == {"a; filename*=b": "hello"}
