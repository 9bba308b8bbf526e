"""A voice's file: whole or not there, whenever the writer stops and whatever has become of it."""

import errno
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.voices.files import (
    BrokenVoiceFile,
    Voice,
    delete_file,
    makes_links,
    packed,
    read_audio,
    read_voice,
    remove_parts,
    write_new,
    write_over,
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

ARCHIVE = packed(VOICE, AUDIO)
OTHER = packed(VOICE.model_copy(update={"size": 3}), b"abc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down" / "one.voice"


def test_comes_back_as_it_was(path: Path) -> None:
    write_new(path, ARCHIVE)
    assert (read_voice(path), read_audio(path)) == (VOICE, AUDIO)
    assert list(path.parent.iterdir()) == [path]


def test_can_be_read_by_other_programs(path: Path) -> None:
    write_new(path, ARCHIVE)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["voice.json", "audio"]
        assert "中文女" in archive.read("voice.json").decode()


def test_a_name_that_is_taken(path: Path) -> None:
    write_new(path, ARCHIVE)
    with pytest.raises(FileExistsError):
        write_new(path, OTHER)
    assert list(path.parent.iterdir()) == [path]
    assert read_audio(path) == AUDIO


def test_of_many_at_once_one_gets_the_name(path: Path) -> None:
    """No lock of ours is between them: what other servers do is as good as another thread."""
    start = threading.Barrier(8)

    def write(number: int) -> bytes:
        start.wait()
        audio = bytes([number])
        try:
            write_new(path, packed(VOICE.model_copy(update={"size": 1}), audio))
        except FileExistsError:
            return b""
        return audio

    with ThreadPoolExecutor(8) as threads:
        (winner,) = filter(None, threads.map(write, range(8)))
    assert read_audio(path) == winner
    assert list(path.parent.iterdir()) == [path]


def test_what_can_be_made_again_takes_its_place(path: Path) -> None:
    write_over(path, ARCHIVE)
    write_over(path, OTHER)
    assert read_audio(path) == b"abc"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_failure_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The disk is full, or the service may not write: whatever step says so."""

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path.parent.mkdir(parents=True)
    monkeypatch.setattr(f"os.{step}", fail)
    with pytest.raises(OSError, match="No space"):
        write_new(path, ARCHIVE)
    assert list(path.parent.iterdir()) == []


def test_it_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        steps.append(f"sync {Path(name).suffix or name}")
        fsync(descriptor)

    def noted_link(part: Path, target: Path) -> None:
        steps.append("link")
        link(part, target)

    path.parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    write_new(path, ARCHIVE)
    assert steps == ["sync .part", "link", "sync down"]


def test_a_link_whose_answer_got_lost_is_our_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As over NFS: the client asks again, and hears that the name is taken."""
    link = os.link

    def deaf_link(part: Path, target: Path) -> None:
        link(part, target)
        link(part, target)

    monkeypatch.setattr(os, "link", deaf_link)
    write_new(path, ARCHIVE)
    assert read_audio(path) == AUDIO
    with pytest.raises(FileExistsError):
        write_new(path, OTHER)


def test_where_there_are_no_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    path.parent.mkdir(parents=True)
    assert makes_links(path.parent)
    monkeypatch.setattr(os, "link", no_link)
    assert not makes_links(path.parent)
    write_new(path, ARCHIVE)
    with pytest.raises(FileExistsError):
        write_new(path, OTHER)
    assert list(path.parent.iterdir()) == [path]
    assert read_audio(path) == AUDIO


def test_a_server_killed_after_the_link_leaves_the_voice(path: Path) -> None:
    write_new(path, ARCHIVE)
    os.link(path, path.with_name("one-abc.part"))
    remove_parts(path.parent)
    assert list(path.parent.iterdir()) == [path]
    assert read_audio(path) == AUDIO


@given(st.integers(0, 11_000), st.booleans())
def test_damage_is_noticed(tmp_path_factory: pytest.TempPathFactory, position: int, cut: bool) -> None:
    path = tmp_path_factory.mktemp("damaged") / "one.voice"
    write_new(path, ARCHIVE)
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
    write_new(path, packed(VOICE.model_copy(update={"size": 1}), AUDIO))
    with pytest.raises(BrokenVoiceFile, match="10240 bytes, not 1"):
        read_voice(path)


def test_deleting(path: Path) -> None:
    write_new(path, ARCHIVE)
    delete_file(path)
    assert not path.exists()
    delete_file(path)


def test_remains_are_cleared_away(path: Path) -> None:
    write_new(path, ARCHIVE)
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
    write_new(path, ARCHIVE)
    assert read_audio(path) == AUDIO
