"""Forms of every route that takes one: fields of any content, half-valid bodies, charsets, odd heads of parts."""

from dataclasses import dataclass
from urllib.parse import quote_from_bytes, urlencode

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests import sounds
from tests.fuzz.exploring import examples, explore
from tests.fuzz.values import CHARSETS, mutated, texts, values
from tests.fuzz.witness import Witness
from tests.http.wire import URLENCODED, head

COMMON = ("prompt_text", "prompt_wav", "format", "speed", "seed", "sample_rate", "voice", "other", "")
LIBRARY = ("tts_text", "instruct_text", "spk_id", *COMMON)
SURFACES = {
    "/synthesize": ("text", "instruction", *COMMON),
    "/inference_zero_shot": LIBRARY,
    "/inference_cross_lingual": LIBRARY,
    "/inference_instruct2": LIBRARY,
    "/inference_sft": LIBRARY,
    "/inference_instruct": LIBRARY,
    "/v1/audio/voices": (
        "name", "type", "audio_sample", "prompt_wav", "ref_text", "prompt_text", "instruction", "instructions",
        "speaker_description", "description", "consent", "other", "",
    ),
}  # fmt: skip
FILES = ("prompt_wav", "audio_sample")
PROMPT = sounds.prompt(1.0)

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Request:
    """A form on its way. split: where the body is cut into two chunks; None sends it with its length."""

    path: str
    content_type: str
    body: bytes
    split: int | None

    def on_the_wire(self) -> bytes:
        """Its bytes."""
        line = f"POST {self.path} HTTP/1.1"
        if self.split is None:
            return head(line, Content_Type=self.content_type, Content_Length=str(len(self.body))) + self.body
        at = self.split % (len(self.body) + 1)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (self.body[:at], self.body[at:]) if part)
        return head(line, Content_Type=self.content_type, Transfer_Encoding="chunked") + chunks + b"0\r\n\r\n"


def fields(names: tuple[str, ...]) -> SearchStrategy[Fields]:
    """Pairs that may come twice; what speaks is mostly there."""
    content = st.one_of(values(), st.just(b"hello"), st.just(b"1"), st.sampled_from([PROMPT, PROMPT[:100]]))
    name = st.one_of(st.sampled_from(names).map(str.encode), st.binary(max_size=10))
    first = st.just((names[0].encode(), b"hello"))
    return st.builds(
        lambda begin, rest: [*begin, *rest], st.lists(first, max_size=1), st.lists(st.tuples(name, content), max_size=6)
    )


def urlencoded(pairs: Fields) -> bytes:
    return b"&".join(quote_from_bytes(name).encode() + b"=" + quote_from_bytes(value).encode() for name, value in pairs)


def raw_urlencoded(pairs: Fields) -> bytes:
    """Nothing is quoted."""
    return b"&".join(name + b"=" + value for name, value in pairs)


@dataclass(frozen=True)
class Dress:
    """What stands around a part's content. quoted: how its name is written. more: other lines of its head."""

    quoted: str
    filename: str
    more: bytes
    newline: bytes = b"\r\n"

    def around(self, name: bytes, content: bytes) -> bytes:
        """The part, its boundary before it."""
        disposition = b"Content-Disposition: form-data; name" + self.quoted.encode().replace(b"?", name)
        parts = [b"--cut", disposition + self.filename.encode(), *([self.more] if self.more else []), b"", content]
        return self.newline.join(parts) + self.newline


def dresses() -> SearchStrategy[Dress]:
    plain = st.sampled_from(["", '; filename="v.wav"', '; filename=""'])
    odd = st.sampled_from([
        "; filename", "; filename=", "; filename*=UTF-8''%e4%bd%a0", "; filename*=punycode''a-", '; filename="a\\"b"',
        '; filename="../../x"', "; filename=" + "x" * 5000, "; name=other", ";;;;", '; filename="\\', "; a=b; c",
        "; filename*0=a; filename*1=b",
    ])  # fmt: skip
    charset = st.sampled_from(CHARSETS).map(lambda name: f"Content-Type: text/plain; charset={name}".encode())
    lines = st.sampled_from([
        b"", b"Content-Type: audio/wav", b"Content-Transfer-Encoding: base64", b"X: " + b"y" * 9000, b": ", b"no colon",
        b"X:\0", b"\xff\xfe: \xff", b"X: a\r\n b", b"Content-Disposition: form-data; name=text", b"\r\nX: y",
        b"\r\n".join(b"X%d: y" % number for number in range(30)),
    ])  # fmt: skip
    quoted = st.one_of(
        st.just('="?"'), st.sampled_from(["=?", '="?', "=", "", "*=UTF-8''?", "*=idna''?", "='?'", '="?";x'])
    )
    newline = st.one_of(st.just(b"\r\n"), st.just(b"\r\n"), st.sampled_from([b"\n", b"\r", b"\r\r\n"]))
    return st.builds(Dress, quoted, st.one_of(plain, odd), st.one_of(st.just(b""), lines, charset), newline)


@st.composite
def multipart(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, bytes]:
    """Content type and body."""
    plain = draw(st.booleans())
    parts = []
    for name, content in draw(fields(names)):
        own = '; filename="v.wav"' if name.decode("latin-1") in FILES else ""
        dress = Dress('="?"', own, b"") if plain else draw(dresses())
        parts.append(dress.around(name, content))
    ending = draw(
        st.one_of(st.just(b"--cut--\r\n"), st.sampled_from([b"", b"--cut", b"--cut--", b"--cut--\r\n" + b"\r\n" * 999]))
    )
    beginning = draw(st.one_of(st.just(b""), st.sampled_from([b"\r\n" * 999, b"preamble\r\n", b"--", b"--cut--\r\n"])))
    boundary = draw(
        st.one_of(st.just("cut"), st.just("cut"), st.sampled_from(["", '"cut"', "cu", "x" * 300, "cut; boundary=b"]))
    )
    charset = draw(st.one_of(st.just(""), st.sampled_from(CHARSETS).map("; charset={}".format)))
    return f"multipart/form-data; boundary={boundary}{charset}", beginning + b"".join(parts) + ending


@st.composite
def simple(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, bytes]:
    """The same of an urlencoded form."""
    write = draw(st.sampled_from([urlencoded, urlencoded, raw_urlencoded]))
    charset = draw(st.one_of(st.just(""), st.sampled_from(CHARSETS).map("; charset={}".format)))
    return URLENCODED + charset, write(draw(fields(names)))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """To any of the routes, damaged or not."""
    path, names = draw(st.sampled_from(sorted(SURFACES.items())))
    content_type, body = draw(st.one_of(multipart(names), multipart(names), simple(names)))
    if draw(st.integers(0, 3)) == 0:
        body = draw(mutated(st.just(body)))
    return Request(path, content_type, body, draw(st.one_of(st.none(), st.integers(0, 3000))))


@st.composite
def queries(draw: st.DrawFn) -> bytes:
    """The library's clients may put the fields into a GET's query."""
    pairs = draw(st.lists(st.tuples(st.sampled_from(LIBRARY), texts(1000)), max_size=5))
    path = draw(st.sampled_from([path for path in sorted(SURFACES) if "inference" in path]))
    return head(f"GET {path}?{urlencode(pairs, errors='replace')} HTTP/1.1")


@examples(80, 5000)
def test_bodies(witness: Witness, count: int) -> None:
    explore(requests(), count, lambda request: witness.asked(request.on_the_wire()))


@examples(20, 2000)
def test_queries(witness: Witness, count: int) -> None:
    explore(queries(), count, witness.asked)
