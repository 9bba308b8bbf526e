"""The charsets that a form may be in, and text out of bytes.

Python has codecs for more than charsets, some of which take quadratic time: a client's word never selects one of those.
"""

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers

from cosyserve.errors import MalformedForm

UTF_8 = "utf-8"
# Each by the most capable of its family, as browsers do: GB 18030 holds GBK, which holds GB 2312.
_CODECS = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii"), UTF_8),
    **dict.fromkeys(("gbk", "gb2312", "gb18030", "cp936", "x-gbk", "gb_2312-80"), "gb18030"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "iso_8859-1", "latin-1", "latin1", "l1"), "iso8859-1"),
    **dict.fromkeys(("iso-8859-15", "iso8859-15", "latin-9", "latin9"), "iso8859-15"),
    **dict.fromkeys(("windows-1252", "cp1252", "x-cp1252"), "cp1252"),
}
_LONGEST = max(map(len, _CODECS))


def codec_of(charset: str) -> str:
    """What decodes it. Raises MalformedForm where no form may be in it."""
    codec = _CODECS.get(charset.lower()) if len(charset) <= _LONGEST else None
    if codec is None:
        raise MalformedForm(f"the form's charset is {charset[:32]!r}: send UTF-8 (or GBK, ISO-8859-1, Windows-1252)")
    return codec


def told_codec(headers: Headers, otherwise: str) -> str:
    """That of the charset in the Content-Type. Raises MalformedForm."""
    charset = parse_options_header(headers.get("content-type"))[1].get(b"charset")
    return codec_of(charset.decode("latin-1")) if charset else otherwise


def decode(raw: bytes | bytearray, codec: str, what: str) -> str:
    """The text. Raises MalformedForm where it is in another charset than was told."""
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        raise MalformedForm(
            f"{what} is not {codec.upper()}: byte {error.start} does not decode; send UTF-8, or tell the charset"
        ) from error
