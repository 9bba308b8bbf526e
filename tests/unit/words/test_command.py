"""The command: a line for each segment, spans with their reasons, JSON lines in and out."""

import io
import json
from pathlib import Path

import pytest

from cosyserve_words.command import main


def test_a_line_for_each_segment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--language", "en", "I have 5 [pause:1s]", "apples."]) == 0
    assert capsys.readouterr().out == "I have five\napples.\n"


def test_spans_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--spans", "I have 5"]) == 0
    assert capsys.readouterr().out == "0\t7\tword\ten\tI have \n7\t8\tnumber\ten\tfive\n"


def test_json_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        '{"text": "call 911", "language": "en"}',
        "",
        '{"text": "我有5个[pause:2s]好"}',
        "{",
        '{"text": 5}',
        '{"text": "a", "language": 5}',
        '{"text": "<speak><x/></speak>"}',
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert main(["--json"]) == 0
    first, second, *others = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"segments": ["call nine one one"]}
    assert second == {"segments": ["我有五个", "好"], "pauses_s": [2.0, 0.0]}
    assert [list(other) for other in others] == [["error"]] * 4
    assert "<x> is not taken" in others[3]["error"]


def test_json_with_spans(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"text": "5"}'))
    assert main(["--json", "--spans"]) == 0
    assert json.loads(capsys.readouterr().out)["spans"] == [
        {"start": 0, "end": 1, "kind": "number", "language": "zh", "spoken": "五"}
    ]


def test_a_lexicon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.csv").write_text("SQL,sequel\n", "utf-8")
    assert main(["--lexicon", str(tmp_path / "words.csv"), "SQL"]) == 0
    assert capsys.readouterr().out == "sequel\n"


@pytest.mark.parametrize("words", [["--lexicon", "/nowhere.csv", "a"], ["<speak><x/></speak>"]])
def test_what_is_not_taken_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
