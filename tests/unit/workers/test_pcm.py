"""Float audio to 16-bit samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve_workers.pcm import to_pcm16


def converted(*samples: float) -> list[int]:
    return [int(sample) for sample in np.frombuffer(to_pcm16(np.array(samples, np.float32)), "<i2")]


def test_full_scale_is_symmetric() -> None:
    assert converted(-1.0, 0.0, 1.0) == [-32767, 0, 32767]


@pytest.mark.parametrize("sample", [1.0001, 2.0, 1e30, float("inf")])
def test_what_is_too_loud_is_clipped_and_never_wraps(sample: float) -> None:
    assert converted(sample, -sample) == [32767, -32767]


def test_what_is_no_number_is_silence() -> None:
    assert converted(float("nan"), 0.5, float("nan")) == [0, 16384, 0]


def test_bytes_are_little_endian() -> None:
    assert to_pcm16(np.array([1 / 32767, -1.0], np.float32)) == b"\x01\x00\x01\x80"


def test_nothing_stays_nothing() -> None:
    assert to_pcm16(np.zeros(0, np.float32)) == b""


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_floats_are_taken_too(dtype: type) -> None:
    assert np.frombuffer(to_pcm16(np.array([0.25, -2.0], dtype)), "<i2").tolist() == [8192, -32767]


def test_strided_samples_come_in_their_order() -> None:
    stereo = np.array([[0.0, 1.0], [0.5, -1.0]], np.float32)
    assert np.frombuffer(to_pcm16(stereo[:, 1]), "<i2").tolist() == [32767, -32767]


@given(st.lists(st.floats(-1, 1, width=32)))
def test_every_sample_is_the_nearest_step(samples: list[float]) -> None:
    steps = np.array(samples, np.float64) * 32767
    assert np.abs(np.array(converted(*samples)) - steps).max(initial=0) <= 0.5 + 1e-2
