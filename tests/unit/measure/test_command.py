"""The command line: what it refuses in one line, and two reports side by side."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosyserve.cli import run
from cosyserve.client.measure.command import _without_secrets
from cosyserve.client.measure.target import Target
from tests.unit.measure.test_rendering import Reader, report


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command changes them for its process, which here is everybody's."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "http://127.0.0.1:1", "--engine", "demo"], "--engine would change nothing"),
        (["--url", "ftp://here"], "not a server's URL"),
        (["--url", "http://127.0.0.1:1", "--minutes", "0"], "--minutes"),
        (["--url", "http://127.0.0.1:1", "--minutes", "nan"], "--minutes"),
        (["--url", "http://127.0.0.1:1", "--clients", "0"], "--clients"),
        (["--url", "http://127.0.0.1:1", "--recording", "none.wav"], "none.wav"),
        (["--url", "http://127.0.0.1:1", "-o", "nowhere/at/all"], "cannot write"),
        (["--compare", "a.json", "b.json"], "cannot read a.json"),
    ],
)
def test_what_cannot_be(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["measure", *arguments]) == 2
    output = capsys.readouterr()
    assert told in output.err
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert not list(tmp_path.iterdir())


def test_nobody_at_that_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", "--url", "http://127.0.0.1:1", "-o", str(tmp_path / "r")]) == 1
    assert "gives no answer" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}'])
def test_what_is_no_report(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(content)
    assert run(["measure", "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2
    assert "is no report" in capsys.readouterr().err


def test_a_report_of_another_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(report(format=99).model_dump_json())
    assert run(["measure", "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2
    assert "format 99" in capsys.readouterr().err


def test_two_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, first_s in (("a", 0.2), ("b", 0.1)):
        (tmp_path / f"{name}.json").write_text(report(first_s).model_dump_json())
    both = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert run(["measure", "--compare", *both, "-o", str(tmp_path / "change")]) == 0
    told = capsys.readouterr().out
    assert "| 200 ms | 100 ms | 0.50 |" in told
    assert (tmp_path / "change.md").read_text("utf-8") == told
    assert "svg" in Reader((tmp_path / "change.html").read_text("utf-8")).tags


def test_no_secret_is_shown() -> None:
    target = Target.at("https://me:hidden@example.org/tts/", "key")
    assert target.shown == "https://example.org"
    words = ["measure", "--url", "https://me:hidden@example.org/tts/", "--api-key=s3cret"]
    shown = _without_secrets(words, {"s3cret": "...", "https://me:hidden@example.org/tts/": target.shown, None: ""})
    assert shown == "cosyserve measure --url https://example.org --api-key=..."
    assert "hidden" not in repr(target)
