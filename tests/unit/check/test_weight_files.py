"""Files of weights that end too early, or are something else, in each format."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest

from cosyserve.check.weight_files import is_damaged


def torch_file() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(100))
        archive.writestr("archive/data/0", bytes(4000))
    return content.getvalue()


def safetensors_file() -> bytes:
    header = {"__metadata__": {"format": "pt"}, "a": {"dtype": "U8", "shape": [40], "data_offsets": [0, 40]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(40)


def onnx_file() -> bytes:
    """A number, a string, a graph longer than a one-byte length can say, a fixed number each of 4 and 8 bytes."""
    return b"\x08\x08" + b"\x12\x02me" + b"\x3a\xac\x02" + bytes(300) + b"\x5d" + bytes(4) + b"\x61" + bytes(8)


WHOLE = {"a.pt": torch_file(), "a.safetensors": safetensors_file(), "a.onnx": onnx_file()}


@pytest.fixture
def write(tmp_path: Path) -> "Write":
    return Write(tmp_path)


class Write:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, content: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(content)
        return path


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file(write: Write, name: str) -> None:
    assert not is_damaged(write(name, WHOLE[name]))


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_file_cut_anywhere(write: Write, name: str) -> None:
    whole = WHOLE[name]
    for size in (1, 7, 9, 50, len(whole) // 2, len(whole) - 1):
        assert is_damaged(write(name, whole[:size])), size


def test_a_network_cut_inside_any_field(write: Write) -> None:
    whole = WHOLE["a.onnx"]
    borders = {2, 6, 309, 314, len(whole)}  # where a shorter network would end as well
    for size in range(1, len(whole)):
        assert is_damaged(write("a.onnx", whole[:size])) is (size not in borders), size


@pytest.mark.parametrize("name", WHOLE)
def test_a_page_under_a_models_name(write: Write, name: str) -> None:
    assert is_damaged(write(name, b"<!DOCTYPE html><html><body>404</body></html>"))


@pytest.mark.parametrize("name", ["a.safetensors"])
@pytest.mark.parametrize("header", [b"[]", b'{"a": 1}', b"{", b'{"a": {"data_offsets": []}}', b"\xff\xff"])
def test_a_header_of_nonsense(write: Write, name: str, header: bytes) -> None:
    assert is_damaged(write(name, len(header).to_bytes(8, "little") + header))


def test_what_the_format_cannot_tell_is_let_pass(write: Write) -> None:
    assert not is_damaged(write("old.pt", pickle.dumps({"a": 1}, protocol=2)[:5]))
    assert not is_damaged(write("vocab.json", b"{"))
