"""What is asked, of whom, and how the time is shared."""

import io
import wave
from pathlib import Path

import pytest

from cosyserve.client.measure.plan import CLIENTS, COLD, LENGTHS, NEW, plan, recordings, share
from cosyserve.client.measure.recordings import Recordings
from cosyserve.client.order import UsageError
from cosyserve.settings.sections import DEFAULT_PROMPT, PACKAGED
from tests import sounds


def test_every_number_of_clients_with_known_and_new_voices() -> None:
    stages = plan(CLIENTS, cold=2)
    assert [(stage.clients, stage.voice) for stage in stages if stage.level] == [
        *((count, "known") for count in CLIENTS),
        *((count, "new") for count in CLIENTS),
    ]
    assert (stages[0].name, stages[0].clients, len(stages[0].asks)) == (COLD, 2, 2)
    assert COLD not in [stage.name for stage in plan(CLIENTS, cold=0)]


def test_a_hundred_lengths_and_the_same_ones_each_time() -> None:
    (lengths,) = [stage for stage in plan(cold=0) if stage.name == LENGTHS]
    assert len(lengths.asks) == 100
    assert len({len(ask.text) for ask in lengths.asks}) > 30
    assert plan(cold=0) == plan(cold=0)


def test_known_and_new_voices_say_the_same_whatever_else_is_asked() -> None:
    known, new = (stage for stage in plan([4], cold=0) if stage.level)
    assert [ask.text for ask in known.asks] == [ask.text for ask in new.asks]
    assert [stage.asks for stage in plan([1, 4], cold=0) if stage.name == known.name] == [known.asks]


def test_no_new_voice_is_heard_twice() -> None:
    asks = [ask for stage in plan(cold=0) if stage.voice == NEW for ask in stage.asks]
    assert len({ask.recording for ask in asks}) == len(asks) == recordings(plan(cold=0))


def test_time_that_a_stage_leaves_over_is_there_for_the_others() -> None:
    stages = plan([1], cold=0)
    left_s, given = 60.0, []
    while stages:
        given.append(share(left_s, stages))
        left_s -= given[-1]
        stages.pop(0)
    assert sum(given) == pytest.approx(60)
    assert given[1] == pytest.approx(3 * given[0])
    assert share(10, plan([1], cold=0)[-1:]) == 10


def test_recordings_differ_and_are_long_enough() -> None:
    cut = Recordings(PACKAGED / DEFAULT_PROMPT)
    made = [cut[number] for number in range(400)]
    assert len(set(made)) == 400
    for content in made:
        with wave.open(io.BytesIO(content)) as file:
            assert file.getnframes() / file.getframerate() > 3


@pytest.mark.parametrize("content", [b"", b"RIFF", sounds.prompt(1.0)], ids=["empty", "torn", "short"])
def test_a_recording_that_cannot_be_cut(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "voice.wav").write_bytes(content)
    with pytest.raises(UsageError, match=r"voice\.wav"):
        Recordings(tmp_path / "voice.wav")


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        Recordings(tmp_path / "none.wav")
