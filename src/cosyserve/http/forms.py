"""Forms as they come over the wire: multipart and urlencoded, read whole and within bounds."""

from urllib.parse import parse_qsl

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cosyserve.errors import MalformedForm
from cosyserve.http.bodies import BodyLimits, check_declared_length, content_type, read_body, stream_body

MAX_FORM_PARTS = 100
MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"


async def read_form(request: Request, limits: BodyLimits) -> dict[str, str | UploadFile]:
    """Parse multipart/form-data or application/x-www-form-urlencoded; of a repeated field the last one counts.

    Raises UploadTooLarge before the body is read whole, UploadStalled, MalformedForm.
    """
    kind = content_type(request.headers)
    if kind == URLENCODED:
        return _parse_urlencoded(await read_body(request, limits))
    if kind == MULTIPART:
        return dict(await _parse_multipart(request, limits))
    check_declared_length(request.headers, limits.max_bytes)
    raise MalformedForm(f"the body is {kind or 'of no stated type'}: send {MULTIPART} or {URLENCODED}")


def _parse_urlencoded(body: bytes) -> dict[str, str | UploadFile]:
    # Decoded before the percent signs are: `curl -d text=你好` sends UTF-8 as it is.
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FORM_PARTS, errors="strict")
    except ValueError as error:
        raise MalformedForm("the body is not a UTF-8 urlencoded form") from error
    return dict(pairs)


class _WholeForm(MultiPartParser):
    """Knows whether the closing boundary has come; without it, a form cut short would pass for one with less in it."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _parse_multipart(request: Request, limits: BodyLimits) -> FormData:
    parser = _WholeForm(
        request.headers,
        stream_body(request, limits),
        max_files=MAX_FORM_PARTS,
        max_fields=MAX_FORM_PARTS,
        # The whole body is bounded already, and text over its limit has an answer of its own.
        max_part_size=limits.max_bytes,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedForm(f"the multipart form is broken: {error.message}") from error
    if not parser.ended:
        raise MalformedForm("the multipart form is broken: it ends before its closing boundary")
    return form
