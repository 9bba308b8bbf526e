"""A folder as a shelf: what is cheap to ask of it, and what others may do while a file is written."""

import os
from pathlib import Path
from typing import Any

import pytest

from cosyserve.voices import folder as module
from cosyserve.voices.files import Voice
from cosyserve.voices.folder import Folder

AUDIO = b"sound"
VOICE = Voice(name="bob", created_at=1, digest="d", media_type="audio/wav", size=5, sample_rate=16_000, duration_s=2)
KEY = "bob.voice"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """One that settles at once."""
    monkeypatch.setattr(module, "SETTLED_S", 0.0)
    return Folder(tmp_path)


def test_no_news_where_nothing_has_changed(folder: Folder) -> None:
    stamp = folder.create(KEY, VOICE, AUDIO)
    assert folder.has_news(KEY, {}), "nobody has looked yet"
    for _ in range(2):
        assert folder.stamps() == {KEY: stamp}
    assert not folder.has_news(KEY, {})
    folder.create("alice.voice", VOICE, AUDIO)
    assert folder.has_news(KEY, {})


def test_a_file_that_grows_is_news(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / KEY).write_bytes(b"half")
    broken = dict(folder.stamps())
    folder.stamps()
    assert not folder.has_news("alice.voice", broken)
    with (tmp_path / KEY).open("ab") as file:
        file.write(b" and half")
    assert folder.has_news("alice.voice", broken)


def test_a_change_within_the_same_tick_is_not_missed(tmp_path: Path) -> None:
    """Of a folder whose time has only just been seen, that time tells nothing."""
    folder = Folder(tmp_path)
    folder.create(KEY, VOICE, AUDIO)
    for _ in range(2):
        folder.stamps()
    assert folder.has_news(KEY, {})


def test_a_file_that_goes_between_a_look_and_its_reading(folder: Folder, tmp_path: Path) -> None:
    folder.create(KEY, VOICE, AUDIO)
    stamps = folder.stamps()
    (tmp_path / KEY).unlink()
    assert folder.read_facts(stamps) == {}


@pytest.mark.parametrize("times", [1, 2])
def test_a_part_that_another_machine_takes_for_a_dead_servers(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """As where locks do not reach it: the part is gone before it has its name, and is written again."""
    link = os.link
    taken: list[Path] = []

    def cleared(part: Path, *args: Any) -> None:
        if len(taken) < times:
            taken.append(part)
            part.unlink()
        link(part, *args)

    monkeypatch.setattr(os, "link", cleared)
    folder.create(KEY, VOICE, AUDIO)
    assert len(taken) == times
    assert folder.read_audio(KEY, VOICE) == AUDIO
    assert [path.name for path in tmp_path.iterdir()] == [KEY]
