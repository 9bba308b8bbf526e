"""Forms as they come over the wire: multipart and urlencoded, read whole and within bounds."""

import re
from urllib.parse import parse_qsl, unquote_plus

import anyio.to_thread
import structlog
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cosyserve.errors import MalformedForm, StorageFailed, TextTooLong
from cosyserve.http.bodies import LONG_BYTES, BodyLimits, content_type, declared_length, read_body, stream_body
from cosyserve.http.charsets import UTF_8, codec_of, decode, told_codec
from cosyserve.speech.intake import Intake

MAX_FORM_PARTS = 100
MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
CHARSET_FIELD = "_charset_"
"""HTML's: what the texts of the form are in that do not say."""
_PARAMETER = re.compile(
    rb"""; \s* filename\* \s* = \s* (?P<filename>[^;]*+)  # RFC 5987's, which RFC 7578 forbids and clients send
    |   " (?: [^"\\] | \\. )*+ (?: " | \Z )              # what is quoted is no parameter
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

log = structlog.get_logger(__name__)


async def read_form(request: Request, limits: BodyLimits, intake: Intake) -> dict[str, str | UploadFile]:
    """Parse multipart/form-data or application/x-www-form-urlencoded; of a repeated field the last one counts.

    Raises what `stream_body` does before the body is read whole, MalformedForm, TextTooLong, StorageFailed.
    """
    kind = content_type(request.headers)
    limits.check(declared_length(request.headers))
    if kind == URLENCODED:
        return await _read_urlencoded(request, limits, intake)
    if kind == MULTIPART:
        return await _parse_multipart(request, limits, intake)
    raise MalformedForm(f"the body is {kind or 'of no stated type'}: send {MULTIPART} or {URLENCODED}")


async def _read_urlencoded(request: Request, limits: BodyLimits, intake: Intake) -> dict[str, str | UploadFile]:
    codec = told_codec(request.headers, UTF_8)
    body = await read_body(request, limits.without_files(), intake)
    if len(body) > LONG_BYTES:
        return await anyio.to_thread.run_sync(_parse_urlencoded, body, codec)
    return _parse_urlencoded(body, codec)


def _parse_urlencoded(body: bytearray, codec: str) -> dict[str, str | UploadFile]:
    codec = _own_word(body) or codec
    # Decoded before the percent signs are: `curl -d text=你好` sends UTF-8 as it is.
    try:
        text = body.decode(codec)
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_PARTS, encoding=codec, errors="strict")
    except ValueError as error:
        raise MalformedForm(f"the body is not a {codec.upper()} urlencoded form") from error
    return dict(pairs)


def _own_word(body: bytearray) -> str:
    """What the field CHARSET_FIELD of an urlencoded form tells; "" where it is not there. Raises MalformedForm."""
    if CHARSET_FIELD.encode() not in body:
        return ""
    said = re.search(rf"(?:^|&){CHARSET_FIELD}=([^&]*)", body.decode("latin-1"))
    return codec_of(unquote_plus(said[1]).strip()) if said else ""


class _Parser(MultiPartParser):
    """Starlette's, but for what it does with text, and with files that are named in RFC 5987's way alone.

    It knows whether the closing boundary has come: without it, a form cut short would pass for one with less in it.
    """

    def __init__(self, request: Request, limits: BodyLimits, intake: Intake) -> None:
        """Raises MalformedForm where the form is said to be in what is no form's charset."""
        super().__init__(
            request.headers,
            stream_body(request, limits, intake),
            max_files=MAX_FORM_PARTS,
            max_fields=MAX_FORM_PARTS,
            max_part_size=limits.max_text_bytes,
        )
        self.ended = False
        self._codec = told_codec(request.headers, UTF_8)
        self._texts: list[tuple[int, bytes, str]] = []
        """Places among the items, what stands there, and the codec where the part tells its own."""
        self._text_bytes = 0
        self._max_text_bytes = limits.max_text_bytes

    def on_headers_finished(self) -> None:
        disposition = self._current_part.content_disposition or b""
        if b"filename*" in disposition.lower():
            self._current_part.content_disposition = _with_plain_filename(disposition)
        super().on_headers_finished()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            self._text_bytes += end - start
            if self._text_bytes > self._max_text_bytes:
                name = self._current_part.field_name[:64]
                raise TextTooLong(f"the texts of a form may have {self._max_text_bytes} bytes together", param=name)
        super().on_part_data(data, start, end)

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is not None:
            super().on_part_end()
            return
        if part.field_name == CHARSET_FIELD:
            self._codec = codec_of(part.data.decode("latin-1").strip())
        self._texts.append((len(self.items), bytes(part.data), told_codec(Headers(raw=part.item_headers), "")))
        self.items.append((part.field_name, ""))

    def on_end(self) -> None:
        self.ended = True

    def fields(self) -> dict[str, str | UploadFile]:
        """The form; the word on its charset may have been its last. Raises MalformedForm."""
        for place, raw, codec in self._texts:
            name = self.items[place][0]
            self.items[place] = name, decode(raw, codec or self._codec, name[:64])
        return dict(self.items)


async def _parse_multipart(request: Request, limits: BodyLimits, intake: Intake) -> dict[str, str | UploadFile]:
    parser = _Parser(request, limits, intake)
    try:
        await parser.parse()
    except MultiPartException as error:
        raise MalformedForm(f"the multipart form is broken: {error.message}") from error
    except OSError as error:
        log.error("an upload could not be held on the disk", reason=str(error))  # noqa: TRY400 - its trace says no more
        raise StorageFailed(f"the upload could not be held on the disk: {error.strerror or 'see the log'}") from error
    if not parser.ended:
        raise MalformedForm("the multipart form is broken: it ends before its closing boundary")
    return parser.fields()


def _with_plain_filename(disposition: bytes) -> bytes:
    r"""The same where `filename*=UTF-8''...` stands alone: the parser knows files by their plain names."""
    found = [match["filename"] for match in _PARAMETER.finditer(disposition) if match["filename"] is not None]
    if not found or b"filename" in parse_options_header(disposition)[1]:
        return disposition
    # Which name it is matters to nobody here; that there is one does.
    return disposition + (b'; filename="upload"' if found[0].rpartition(b"'")[2].strip() else b'; filename=""')
