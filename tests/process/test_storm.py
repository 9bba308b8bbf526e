"""Every attack that once got through, all at once, beside ten streams: each stream is whole, and memory is bounded."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks.attacks import ATTACKS, Scale
from benchmarks.storm import STREAMS, server_in, weather

BUDGETS_MIB = 2 * 64
FRONT_END_MIB = 400
SPEECH_S = 60.0
FULL = Scale()


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="the engine demo is not installed")
def test_ten_streams_in_a_storm(tmp_path: Path) -> None:
    with server_in(tmp_path, watch_steps=True) as server:
        pids = server.worker_pids()
        seen = weather(server, SPEECH_S, FULL)
        assert set(seen.rounds) == set(ATTACKS), "an attack that never came to its end"
        assert [stream.error for stream in seen.streams] == [""] * STREAMS
        assert seen.whole == STREAMS
        assert seen.unanswered == 0
        assert server.worker_pids() == pids
        assert not any(seen.held_after.values()), seen.held_after
    assert seen.peak_mib <= FRONT_END_MIB + BUDGETS_MIB
    assert seen.after_mib <= FRONT_END_MIB
