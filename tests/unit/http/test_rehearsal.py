"""What `serve` would stumble over, and what it would go without: told beforehand."""

import socket
from pathlib import Path
from typing import Any

import pytest

from cosyserve.check.finding import Finding, State
from cosyserve.http.rehearsal import rehearse, shortfalls
from cosyserve.settings.sections import Settings
from tests import sounds


def settings_in(folder: Path, **sections: dict[str, Any]) -> Settings:
    """Settings with nothing to complain of, over which `sections` go."""
    prompt = folder / "prompt.wav"
    prompt.write_bytes(sounds.prompt())
    whole: dict[str, dict[str, Any]] = {
        "server": {"port": 0},
        "defaults": {"prompt_wav": prompt},
        "voices": {"dir": folder / "voices"},
    }
    return Settings.model_validate(whole | {name: whole.get(name, {}) | table for name, table in sections.items()})


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_nothing_to_complain_of(tmp_path: Path) -> None:
    assert rehearse(settings_in(tmp_path)) == []
    assert not (tmp_path / "voices").exists(), "a look changes nothing"


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = only(rehearse(settings_in(tmp_path, server={"port": port})))
    assert finding.stops
    assert f"cannot listen on 127.0.0.1:{port}" in finding.text
    assert "--port" in finding.remedy


def test_a_keys_file_that_is_missing_or_broken(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    settings = settings_in(tmp_path, server={"api_keys_file": keys})
    assert "cannot be read" in only(rehearse(settings)).text
    keys.write_text("no colon\n")
    finding = only(rehearse(settings))
    assert finding.stops
    assert "line 1 is not NAME:KEY" in finding.text


def test_a_gpu_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    finding = only(rehearse(settings_in(tmp_path, workers={"devices": ["3"]})))
    assert finding.stops
    assert finding.text == "workers.devices has '3', but no GPU is visible"


def test_a_default_prompt_that_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    finding = only(rehearse(settings_in(tmp_path, defaults={"prompt_wav": broken})))
    assert finding.stops
    assert f"defaults.prompt_wav = {broken}" in finding.text


def test_a_default_prompt_that_is_missing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, defaults={"prompt_wav": tmp_path / "gone.wav"})
    finding = only(rehearse(settings))
    assert finding.state is State.WARNING
    assert finding.text == f"the default prompt {tmp_path}/gone.wav is not there"
    assert shortfalls(settings) == [finding], "`serve` tells it too"


def test_a_voices_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = settings_in(tmp_path, voices={"dir": tmp_path / "file" / "voices"})
    finding = only(rehearse(settings))
    assert finding.state is State.WARNING
    assert f"the voices' folder {tmp_path}/file/voices cannot be written: Not a directory" in finding.text
    assert shortfalls(settings) == [finding]
    nobody_stores = settings_in(tmp_path, voices={"dir": tmp_path / "file" / "voices", "max_count": 0})
    assert rehearse(nobody_stores) == []


def test_a_folder_for_temporary_files_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "file"))
    finding = only(rehearse(settings))
    assert finding.state is State.WARNING
    assert finding.text.startswith(f"TMPDIR {tmp_path}/file cannot be written")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert rehearse(settings) == []


def test_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    settings = settings_in(tmp_path)
    assert only(rehearse(settings)) == Finding(State.OK, "spans are sent to http://collector:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    finding = only(rehearse(settings))
    assert (finding.state, finding.text) == (
        State.WARNING,
        "no spans are sent to http://collector:4318: grpc is not spoken",
    )


def test_an_open_door(tmp_path: Path) -> None:
    open_to_all = {"host": "0.0.0.0", "port": 0}
    assert "without an API key" in only(shortfalls(settings_in(tmp_path, server=open_to_all))).text
    assert shortfalls(settings_in(tmp_path, server={**open_to_all, "api_keys": ["secret"]})) == []


def test_gpus_that_no_worker_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    finding = only(shortfalls(settings_in(tmp_path, model={"engine": "native"})))
    assert finding == Finding(
        State.WARNING,
        "visible GPUs that no worker has: 5, 6",
        "set workers.count to 3, or name those to use in workers.devices",
    )
