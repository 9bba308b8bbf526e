"""What a benchmark hears: when sound came, and whether it came in time."""

import json

import pytest
from benchmarks.takes import Heard, Session, Stream, Take

SECOND = 24_000


@pytest.mark.parametrize(
    ("chunks", "underruns"),
    [
        ([(3.0, SECOND)], 0),
        ([(3.0, SECOND), (4.0, SECOND), (5.0, SECOND)], 0),
        ([(3.0, SECOND), (4.1, SECOND), (5.0, SECOND)], 1),
        # One that ran dry listens on from where it is: what is later by the same time is not late again.
        ([(3.0, SECOND), (9.0, SECOND), (9.9, SECOND)], 1),
        ([(3.0, SECOND), (9.0, SECOND), (10.1, SECOND)], 2),
        # Sound that came early lasts.
        ([(3.0, 10 * SECOND), (3.1, SECOND), (13.9, SECOND)], 0),
    ],
)
def test_a_chunk_that_comes_after_the_sound_before_it_has_ended_is_an_underrun(
    chunks: list[tuple[float, int]], underruns: int
) -> None:
    stream = Stream(chunks)
    assert stream.first_s == 3.0
    assert stream.underruns == underruns
    assert Heard([stream, stream], 20.0, 20.0).underruns == 2 * underruns


def test_what_a_side_heard_crosses_the_pipe_whole() -> None:
    session = Session([Heard([Stream([(1.5, 480), (2.5, 960)])], 3.0, 4.0)], 2**30, {"precision": "fp32"})
    assert Session.from_json(json.loads(json.dumps(session.as_json()))) == session


def test_a_take_is_as_long_as_its_tokens() -> None:
    assert Take(prompt=100, tokens=125, at_once=10).audio_s == 50.0
