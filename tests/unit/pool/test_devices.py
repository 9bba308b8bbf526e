"""Which worker gets which GPU."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.check.nvidia import gpu_is_listed, visible_devices
from cosyserve.pool.devices import assign_devices, left_idle
from cosyserve.settings.sections import Settings, SettingsError

FOUR = ["0", "1", "2", "3"]
names = st.text(st.characters(categories=["L", "N"], include_characters="-"), min_size=1).filter(
    lambda name: name != "-1"
)


def workers(count: int, *devices: str, device: str = "auto") -> Settings:
    return Settings.model_validate({"workers": {"count": count, "devices": devices}, "model": {"device": device}})


class TestVisible:
    @pytest.mark.parametrize(
        ("value", "devices"),
        [
            ("", []),
            ("0", ["0"]),
            ("2,0", ["2", "0"]),
            (" 1 , 3 ", ["1", "3"]),
            ("GPU-abc,MIG-def", ["GPU-abc", "MIG-def"]),
            ("-1", []),
            ("0,-1,1", ["0"]),
            ("0,,1", ["0", "1"]),
        ],
    )
    def test_inherited(self, value: str, devices: list[str]) -> None:
        assert visible_devices({"CUDA_VISIBLE_DEVICES": value}) == devices

    @given(st.lists(names))
    def test_inherited_ones_keep_their_order(self, devices: list[str]) -> None:
        assert visible_devices({"CUDA_VISIBLE_DEVICES": ",".join(devices)}) == devices

    @pytest.mark.parametrize(
        ("script", "devices"),
        [
            ("printf '0\\n1\\n'", ["0", "1"]),
            ("exit 9", []),
            ("echo 'No devices were found'; exit 6", []),
        ],
    )
    def test_asked_of_nvidia_smi(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, devices: list[str]
    ) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert visible_devices({}) == devices

    def test_without_nvidia_smi(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert visible_devices({}) == []

    def test_without_nvidia_smi_by_the_drivers_devices(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A container may be shown the second and the third of a machine: CUDA counts them from 0."""
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("cosyserve.check.nvidia.DEVICES", tmp_path)
        for name in ("nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
            (tmp_path / name).write_text("")
        assert visible_devices({}) == ["0", "1"]
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        assert gpu_is_listed()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert not gpu_is_listed()


class TestAssignment:
    @pytest.mark.parametrize(
        ("count", "configured", "visible", "assigned"),
        [
            (1, [], [], [None]),
            (2, [], ["0"], [None, None]),
            (1, [], FOUR, ["0"]),
            (3, [], ["5", "7"], ["5", "7", "5"]),
            (2, ["1"], FOUR, ["1", "1"]),
            (3, ["3", "1"], FOUR, ["3", "1", "3"]),
            (2, ["1", "0"], ["5", "7"], ["7", "5"]),
            (2, ["0", "1"], ["GPU-a", "GPU-b"], ["GPU-a", "GPU-b"]),
            (2, ["GPU-x", "MIG-y"], [], ["GPU-x", "MIG-y"]),
            (1, ["0", "1"], FOUR, ["0"]),
        ],
    )
    def test_table(self, count: int, configured: list[str], visible: list[str], assigned: list[str | None]) -> None:
        assert assign_devices(workers(count, *configured), visible) == assigned

    @pytest.mark.parametrize(("visible", "says"), [([], "no GPU is visible"), (["0", "1"], "only 2 are visible")])
    def test_an_index_that_is_not_there(self, visible: list[str], says: str) -> None:
        with pytest.raises(SettingsError, match=says) as error:
            assign_devices(workers(1, "2"), visible)
        assert "workers.devices" in str(error.value)

    def test_on_the_cpu_nobody_is_pinned(self) -> None:
        assert assign_devices(workers(2, device="cpu"), FOUR) == [None, None]

    def test_gpus_named_for_workers_on_the_cpu(self) -> None:
        with pytest.raises(SettingsError, match=r"workers\.devices names GPUs, and model\.device is cpu"):
            assign_devices(workers(1, "0", device="cpu"), FOUR)

    @given(st.integers(1, 50), st.lists(names, min_size=2, unique=True))
    def test_nobody_gets_two_more_than_another(self, count: int, visible: list[str]) -> None:
        assigned = assign_devices(workers(count), visible)
        shares = [assigned.count(device) for device in visible]
        assert sum(shares) == count
        assert max(shares) - min(shares) <= 1


class TestLeftIdle:
    @pytest.mark.parametrize(
        ("settings", "idle"),
        [
            (workers(1), ["1", "2", "3"]),
            (workers(3), ["3"]),
            (workers(4), []),
            (workers(9), []),
            (workers(1, "2"), []),
            (workers(1, device="cpu"), []),
            (Settings.model_validate({"model": {"engine": "demo"}}), []),
        ],
    )
    def test_table(self, settings: Settings, idle: list[str]) -> None:
        assert left_idle(settings, lambda: FOUR) == idle
