"""A voice's file: whole or not there, whenever the writer stops and whatever has become of it."""

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.voices.files import (
    BrokenVoiceFile,
    Voice,
    delete_voice,
    read_audio,
    read_voice,
    remove_parts,
    write_voice,
)

AUDIO = bytes(range(256)) * 40
VOICE = Voice(
    name="中文女",
    created_at=1,
    digest="d",
    media_type="audio/wav",
    size=len(AUDIO),
    sample_rate=16_000,
    duration_s=1.5,
    prompt_text="希望你以后",
    instruction="慢",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down" / "one.voice"


def test_comes_back_as_it_was(path: Path) -> None:
    write_voice(path, VOICE, AUDIO)
    assert (read_voice(path), read_audio(path)) == (VOICE, AUDIO)
    assert list(path.parent.iterdir()) == [path]


def test_can_be_read_by_other_programs(path: Path) -> None:
    write_voice(path, VOICE, AUDIO)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["voice.json", "audio"]
        assert "中文女" in archive.read("voice.json").decode()


def test_a_newer_one_takes_its_place(path: Path) -> None:
    write_voice(path, VOICE, AUDIO)
    write_voice(path, VOICE.model_copy(update={"size": 3}), b"abc")
    assert read_audio(path) == b"abc"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The disk is full, or the service may not write: whatever step says so."""
    write_voice(path, VOICE, AUDIO)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr({"fsync": "os.fsync", "replace": "pathlib.Path.replace"}[step], fail)
    with pytest.raises(OSError, match="No space"):
        write_voice(path, VOICE.model_copy(update={"size": 3}), b"abc")
    assert list(path.parent.iterdir()) == [path]
    assert read_audio(path) == AUDIO


def test_it_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        steps.append(f"sync {Path(name).suffix or name}")
        fsync(descriptor)

    def noted_replace(part: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(part, target)

    path.parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_voice(path, VOICE, AUDIO)
    assert steps == ["sync .part", "rename", "sync down"]


@given(st.integers(0, 11_000), st.booleans())
def test_damage_is_noticed(tmp_path_factory: pytest.TempPathFactory, position: int, cut: bool) -> None:
    path = tmp_path_factory.mktemp("damaged") / "one.voice"
    write_voice(path, VOICE, AUDIO)
    content = bytearray(path.read_bytes())
    position %= len(content)
    if cut:
        del content[position:]
    else:
        content[position] ^= 0xFF
    path.write_bytes(content)
    try:
        voice, audio = read_voice(path), read_audio(path)
    except BrokenVoiceFile:
        return
    # What is left may be a file's date or a checksum-less byte of a header.
    assert audio == AUDIO
    assert voice.size == len(AUDIO)


@pytest.mark.parametrize("content", [b"", b"PK", b"junk" * 100])
def test_what_is_no_voice(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    for read in (read_voice, read_audio):
        with pytest.raises(BrokenVoiceFile):
            read(path)


@pytest.mark.parametrize("facts", ["", "[]", "{}", '{"version": 2}', '{"name": 3}', " " * (2 << 20)])
def test_facts_that_are_none(path: Path, facts: str) -> None:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("voice.json", facts)
        archive.writestr("audio", AUDIO)
    with pytest.raises(BrokenVoiceFile):
        read_voice(path)


def test_another_size_than_told(path: Path) -> None:
    write_voice(path, VOICE.model_copy(update={"size": 1}), AUDIO)
    with pytest.raises(BrokenVoiceFile, match="10240 bytes, not 1"):
        read_voice(path)


def test_deleting(path: Path) -> None:
    write_voice(path, VOICE, AUDIO)
    delete_voice(path)
    assert not path.exists()
    delete_voice(path)


def test_remains_are_cleared_away(path: Path) -> None:
    write_voice(path, VOICE, AUDIO)
    path.with_name("one-abc.part").write_bytes(b"half")
    remove_parts(path.parent)
    assert list(path.parent.iterdir()) == [path]


def test_what_a_living_server_writes_is_no_remains(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def another_server_starts(descriptor: int) -> None:
        remove_parts(path.parent)
        fsync(descriptor)

    path.parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", another_server_starts)
    write_voice(path, VOICE, AUDIO)
    assert read_audio(path) == AUDIO
