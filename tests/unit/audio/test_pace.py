"""Underruns and the real-time factor, by a listener who plays from the first chunk on."""

import pytest

from cosyserve.audio.pace import Pace


def test_no_audio() -> None:
    assert Pace(10.0).real_time_factor is None


def test_audio_that_keeps_ahead() -> None:
    pace = Pace(10.0)
    for now in (11.0, 11.5, 12.0):
        pace.feed(now, 1.0)
    assert (pace.underruns, pace.stalled_s, pace.audio_s) == (0, 0.0, 3.0)
    assert pace.real_time_factor == pytest.approx(2 / 3)


def test_the_first_chunk_is_never_an_underrun() -> None:
    pace = Pace(0.0)
    pace.feed(100.0, 0.1)
    assert pace.underruns == 0


def test_one_just_in_time_is_none() -> None:
    pace = Pace(0.0)
    pace.feed(1.0, 0.5)
    pace.feed(1.5, 0.5)
    assert pace.underruns == 0


def test_late_chunks() -> None:
    """Playing goes on from the late chunk: its delay is not counted again."""
    pace = Pace(0.0)
    pace.feed(1.0, 0.5)
    pace.feed(2.0, 0.5)
    pace.feed(2.25, 0.5)
    pace.feed(3.25, 0.5)
    assert (pace.underruns, pace.stalled_s) == (2, 0.75)
