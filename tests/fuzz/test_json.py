"""Bodies of /v1/audio/speech: JSON of any shape, and what is nearly JSON."""

import base64
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests import sounds
from tests.fuzz.exploring import examples, explore
from tests.fuzz.values import mutated, texts
from tests.fuzz.witness import Witness
from tests.http.wire import head

FIELDS = (
    "input", "model", "voice", "response_format", "speed", "instructions", "stream_format", "ref_audio", "ref_text",
    "seed",
    "sample_rate", "id", "other",
)  # fmt: skip
PROMPT = base64.b64encode(sounds.prompt(1.0)).decode()
TYPES = (
    "application/json",
    "application/json; charset=utf-16",
    "APPLICATION/JSON;",
    "text/plain",
    "",
    "application/json\t",
)


def scalars() -> SearchStrategy[Any]:
    number = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, -1, 10**400, 2**31, 16_000, 1.5, 1e308]))
    word = st.sampled_from(
        ["hello", "wav", "mp3", "sse", "audio", "default", "data:audio/wav;base64," + PROMPT, PROMPT, "data:,"]
    )
    return st.one_of(st.none(), st.booleans(), number, texts(5000), word)


def trees() -> SearchStrategy[Any]:
    return st.recursive(
        scalars(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
        ),
        max_leaves=12,
    )


def as_json(tree: Any) -> bytes:
    """NaN, infinity and half characters in it."""
    return json.dumps(tree).encode()


def as_raw_json(tree: Any) -> bytes:
    """Nothing of its texts is escaped that need not be."""
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")


DEEP = [
    b"[" * 100_000,
    b'{"input":' * 20_000,
    b'{"input": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"voice":{"id":' * 1000,
]
DOUBLE = [
    b'{"input": "a", "input": "b", "seed": 1, "seed": 1.0}',
    b"\xef\xbb\xbf{}",
    b'{"input": "\\ud800"}',
    b"",
    b"\0",
    b"1" * 9999,
]
OTHERWISE = ["utf-16", "utf-32", "utf-16-le", "utf-7", "cp037"]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Mostly an object with something to say."""
    said = draw(st.dictionaries(st.sampled_from(FIELDS), trees(), max_size=6))
    if draw(st.booleans()):
        said = {**said, "input": "hello"}
    whole: bytes = draw(st.sampled_from([as_json, as_raw_json]))(said)
    match draw(st.integers(0, 6)):
        case 0:
            return draw(mutated(st.just(whole)))
        case 1:
            return draw(st.sampled_from([*DEEP, *DOUBLE]))
        case 2:
            said_otherwise: bytes = json.dumps(said).encode(draw(st.sampled_from(OTHERWISE)))
            return said_otherwise
        case 3:
            return as_json(draw(trees()))
    return whole


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    body = draw(bodies())
    content_type = draw(st.one_of(st.just(TYPES[0]), st.just(TYPES[0]), st.sampled_from(TYPES)))
    return head("POST /v1/audio/speech HTTP/1.1", Content_Type=content_type, Content_Length=str(len(body))) + body


@examples(70, 5000)
def test_bodies(witness: Witness, count: int) -> None:
    explore(requests(), count, witness.asked)
