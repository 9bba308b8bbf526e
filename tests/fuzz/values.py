"""Texts and bytes that have broken servers before, and mutations of whatever is whole."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

NASTY = (
    "", " ", "\0", "\ufeff", "\u202e", "a\r\nb: c", "../../etc/passwd", "%00", "%", "<|endofprompt|>", "null", "[]",
    "{}",
    "0", "-0", "-1", "1e999", "nan", "inf", "１２３", "²", "0x10", "1_0", "9" * 400,
    "2147483647", "2147483648", "16000",
    "default", "alloy", "Default", "wav", "WAV", "pcm", "mp3", "aac", "opus", "flac", "con", ".", "..", "~",
    "~nobody/x", "你好，世界。", "٪٪", "①", "ǆ", "ß", "İ", "👩‍👩‍👧‍👦", "e\u0301", "ﷺ",
)  # fmt: skip
"""Numbers that are none, names of files, what normalisation makes longer, what a parser may stop at."""
REPEATED = ("a", "ﷺ", "\u0301", "你", "1", " ", "\n", "=", "%", "&", "👩‍", "<|endofprompt|>", "。", "\u0345", "\\")

CHARSETS = (
    "utf-8", "UTF8", "gbk", "gb18030", "latin-1", "iso-8859-1", "cp1252", "ascii", "utf-16", "utf-32", "utf-7",
    "punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape", "rot13", "base64", "zip", "bz2", "hex",
    "uu", "quopri",
    "utf-8-sig", "big5", "shift_jis", "iso2022_jp", "hz", "mbcs", "oem", "charmap", "palmos", "none", "", '"',
    "a" * 300, "../x", "utf-8\\", "encodings", "aliases",
)  # fmt: skip


def _repeat(one: str, times: int) -> str:
    return one * times


def texts(most: int = 20_000) -> SearchStrategy[str]:
    """Most are short; some are far over every limit."""
    long = st.builds(_repeat, st.sampled_from(REPEATED), st.sampled_from([2, 100, 999, 1001, most]))
    return st.one_of(st.sampled_from(NASTY), st.text(max_size=30), long)


def encoded(value: str) -> bytes:
    """As it is, half characters too."""
    return value.encode("utf-8", "surrogatepass")


def values() -> SearchStrategy[bytes]:
    """A field's content."""
    return st.one_of(texts(150_000).map(encoded), st.binary(max_size=60))


def mutated(wholes: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Cut, overwritten, doubled or torn apart in up to four places; most often near the beginning."""
    place = st.one_of(st.integers(0, 64), st.integers(0, 1000), st.integers(0, 2**20))
    piece = st.one_of(
        st.binary(max_size=8), st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80", b"\r\n"])
    )
    change = st.tuples(st.sampled_from(["cut", "insert", "overwrite", "double", "delete"]), place, piece)
    return st.builds(_mutate, wholes, st.lists(change, max_size=4))


def _mutate(whole: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, piece in changes:
        at = place % (len(whole) + 1)
        rest = {
            "cut": b"",
            "insert": piece + whole[at:],
            "overwrite": piece + whole[at + len(piece) :],
            "double": whole[max(0, at - 100) :],
            "delete": whole[at + len(piece) :],
        }
        whole = whole[:at] + rest[kind]
    return whole
