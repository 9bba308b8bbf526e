"""The check of fidelity: that it holds what is right, and tells what is not, by its stage."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from benchmarks.activations import largest_activations
from benchmarks.fidelity_made import Made
from benchmarks.fidelity_measures import BARS, FP16_LARGEST, compare
from benchmarks.fidelity_side import CPU, Native, make

from cosyserve_workers.native.precision import Precision
from tests.model.conftest import ROOT

TOKENS = 60
FLOW_TENSOR = "decoder.estimator.mid_blocks.0.1.0.ff.net.2.weight"


@pytest.fixture(scope="module")
def made(small_checkpoint: Path) -> Made:
    return make(Native(small_checkpoint, CPU, Precision("fp32")), small_checkpoint, most=TOKENS)


@pytest.fixture(scope="module")
def made_3(small_checkpoint_3: Path) -> Made:
    return make(Native(small_checkpoint_3, CPU, Precision("fp32")), small_checkpoint_3, most=TOKENS)


def disturbed(folder: Path, out: Path, file: str, name: str, factor: float) -> Path:
    """A copy of a model with one tensor multiplied."""
    shutil.copytree(folder, out)
    state = torch.load(out / file, weights_only=True)
    state[name] *= factor
    torch.save(state, out / file)
    return out


def check(*options: str) -> tuple[int, dict[str, Any]]:
    """Run the command: its exit status and its report."""
    command = [sys.executable, "-m", "benchmarks.fidelity", "--json", "--device", "cpu", "--tokens", str(TOKENS)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.full
def test_ours_is_the_library(small_checkpoint: Path, library_path: Path) -> None:
    status, report = check("--model-dir", str(small_checkpoint), "--source-dir", str(library_path))
    assert status == 0, report["verdict"]
    assert "CosyVoice library" in report["reference"]
    stages = {one["stage"]: one for one in report["measures"]["fp32"]}
    assert len(stages) == 8
    assert all(one["holds"] for one in stages.values())
    assert stages["logits"]["more"]["top1_same"] == 1.0
    # Two implementations round differently: a report of nothing but noughts would have compared one with itself.
    assert 0 < stages["flow: mel"]["greatest"] < 1e-3
    assert stages["vocoder: sound"]["greatest"] > 0
    assert report["largest"]["language model"].keys() >= {"layers.0", "layers.1", "layers.2", "head"}


@pytest.mark.full
def test_one_wrong_tensor_is_found_and_named(small_checkpoint: Path, tmp_path: Path) -> None:
    wrong = disturbed(small_checkpoint, tmp_path / "wrong", "flow.pt", FLOW_TENSOR, 1.1)
    given = ("--model-dir", str(wrong), "--reference", "native", "--reference-dir", str(small_checkpoint))
    status, report = check(*given)
    assert status == 1
    assert [one["stage"] for one in report["measures"]["fp32"] if not one["holds"]] == ["flow: mel"]
    assert report["verdict"] == "Do not serve in fp32: above its bar is flow: mel."


@pytest.mark.full
def test_what_cannot_be_found_out_is_no_verdict(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.fidelity", "--reference", "native", "--model-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("file", "name", "factor", "stages"),
    [
        ("llm.pt", "llm.model.model.layers.1.mlp.down_proj.weight", 1.1, ["logits"]),
        ("flow.pt", FLOW_TENSOR, 1.1, ["flow: mel"]),
        ("hift.pt", "f0_predictor.classifier.weight", 1.01, ["vocoder: pitch"]),
        ("hift.pt", "conv_post.bias", 1.01, ["vocoder: sound"]),
    ],
)
def test_each_stage_is_held_by_itself(  # noqa: PLR0917
    file: str, name: str, factor: float, stages: list[str], small_checkpoint: Path, tmp_path: Path, made: Made
) -> None:
    wrong = disturbed(small_checkpoint, tmp_path / "wrong", file, name, factor)
    got = make(Native(wrong, CPU, Precision("fp32")), wrong, made)
    assert [one.stage for one in compare(made, got, BARS["fp32"]) if not one.holds] == stages


@pytest.mark.parametrize(
    ("file", "name", "stages"),
    [
        ("llm.pt", "llm.model.model.layers.1.mlp.down_proj.weight", ["logits"]),
        ("flow.pt", "decoder.estimator.transformer_blocks.1.ff.ff.2.weight", ["flow: mel"]),
        ("hift.pt", "conv_post.bias", ["vocoder: sound"]),
    ],
)
def test_each_stage_of_the_newer_model_is_held_by_itself(  # noqa: PLR0917
    file: str, name: str, stages: list[str], small_checkpoint_3: Path, tmp_path: Path, made_3: Made
) -> None:
    wrong = disturbed(small_checkpoint_3, tmp_path / "wrong", file, name, 1.1)
    got = make(Native(wrong, CPU, Precision("fp32")), wrong, made_3)
    assert [one.stage for one in compare(made_3, got, BARS["fp32"]) if not one.holds] == stages
    assert got.before[-1] == got.segment().prompt_text[len(got.before) - 1], "the system prompt comes first"


@pytest.mark.full
def test_half_precision_is_further_off_than_float32_and_has_bars_of_its_own(small_checkpoint: Path, made: Made) -> None:
    half = make(Native(small_checkpoint, CPU, Precision("fp16")), small_checkpoint, made)
    exact = {one.stage: one for one in compare(made, half, BARS["fp32"])}
    own = {one.stage: one for one in compare(made, half, BARS["fp16"])}
    assert not exact["flow: mel"].holds
    assert own["flow: mel"].holds
    assert 1e-4 < own["flow: mel"].rms < 0.004
    assert own["logits"].holds is None
    assert 0 < own["logits"].more["KL"] < 0.01


def test_bytes_are_held_by_what_they_do_to_the_next_token(small_checkpoint: Path, made: Made) -> None:
    got = make(Native(small_checkpoint, CPU, Precision("fp32", int8=True)), small_checkpoint, made)
    found = {one.stage: one for one in compare(made, got, BARS["int8"])}
    assert all(one.holds for one in found.values())
    assert 1e-6 < found["logits"].more["KL"] < 0.05
    assert found["logits"].more["top1_same"] > 0.8


@pytest.mark.full
def test_the_layer_that_overflows_is_named(small_checkpoint: Path, tmp_path: Path, made: Made) -> None:
    right = largest_activations(small_checkpoint, made)
    assert all(most < FP16_LARGEST for layers in right.values() for most in layers.values())
    name = "llm.model.model.layers.1.mlp.down_proj.weight"
    wrong = disturbed(small_checkpoint, tmp_path / "wrong", "llm.pt", name, 1e6)
    found = largest_activations(wrong, made)
    assert found["language model"]["layers.0"] == right["language model"]["layers.0"]
    assert found["language model"]["layers.1"] > FP16_LARGEST
    assert found["flow"] == right["flow"]
