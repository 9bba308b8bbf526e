"""What an operator is told when a model cannot be loaded, and what reaches the library when it can."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosyserve.check.acceleration import ESTIMATOR
from cosyserve.protocol import EngineConfig
from cosyserve_workers.engine import LoadError, load_engine
from tests.model import cosyvoice_kit as kit

torch = pytest.importorskip("torch")
from cosyserve_workers.cosyvoice.accelerations import (  # noqa: E402
    Accelerations,
    Machine,
    building_folder,
    choose,
)
from cosyserve_workers.cosyvoice.loading import load  # noqa: E402

pytestmark = kit.LIBRARY

BARE = Machine(gpu=None, tensorrt=None, vllm=None)
RICH = Machine(gpu="NVIDIA L20", tensorrt="10.13.3", vllm="0.11.0")
PLAN = Accelerations(fp16=False, tensorrt=True, vllm=False)


@pytest.fixture
def copy(small_checkpoint: Path, tmp_path: Path) -> Path:
    """A model folder to damage: links to the checkpoint's files."""
    folder = tmp_path / "model"
    shutil.copytree(small_checkpoint, folder, copy_function=os.symlink)
    return folder


def replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def truncate(path: Path) -> None:
    replace(path, path.read_bytes()[: path.stat().st_size // 2])


def spoil(path: Path) -> None:
    """Its head and its end stay what they are."""
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 10, len(content) * 9 // 10)
    content[middle] = b"\xff" * len(content[middle])
    replace(path, bytes(content))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no yaml": (lambda folder: (folder / "cosyvoice2.yaml").unlink(), "holds neither cosyvoice2.yaml nor"),
    "no weights": (lambda folder: (folder / "flow.pt").unlink(), "flow.pt is missing: .*modelscope download"),
    "empty weights": (lambda folder: replace(folder / "llm.pt", b""), "llm.pt is empty: delete"),
    "truncated weights": (lambda folder: truncate(folder / "flow.pt"), "flow.pt is cut short, .*: delete .*flow.pt"),
    "truncated session": (lambda folder: truncate(folder / "campplus.onnx"), "campplus.onnx is cut short, .*: delete"),
    "weights of noise": (lambda folder: spoil(folder / "flow.pt"), "flow.pt is damaged: delete it, then .*flow.pt"),
    "a session of noise": (lambda folder: spoil(folder / "campplus.onnx"), "campplus.onnx is damaged: delete it"),
    "another model's weights": (
        lambda folder: replace(folder / "hift.pt", (folder / "flow.pt").read_bytes()),
        "weights do not fit .*fetch both anew",
    ),
    "a yaml of something else": (
        lambda folder: replace(folder / "cosyvoice2.yaml", b"sample_rate: 24000\n"),
        "cannot make sense of .*cosyvoice2.yaml",
    ),
    "no yaml at all": (lambda folder: replace(folder / "cosyvoice2.yaml", b"a: ["), "cannot make sense of"),
    "a newer model": (
        lambda folder: (
            (folder / "cosyvoice2.yaml").rename(folder / "cosyvoice3.yaml"),
            (folder / "speech_tokenizer_v2.onnx").rename(folder / "speech_tokenizer_v3.onnx"),
        ),
        "does not know CosyVoice3: git -C .* pull",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_be_loaded_is_one_line_with_the_remedy(copy: Path, damage: str) -> None:
    inflict, said = DAMAGES[damage]
    inflict(copy)
    with pytest.raises(LoadError, match=said) as refusal:
        load_engine(kit.config(copy))
    assert "\n" not in str(refusal.value)


def test_no_folder() -> None:
    with pytest.raises(LoadError, match=r"/nowhere is missing: .*modelscope download"):
        load_engine(kit.config(Path("/nowhere")))


def test_no_library_in_the_folder_named(small_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="holds no CosyVoice library: git clone --recursive"):
        load_engine(kit.config(small_checkpoint, source_dir=str(tmp_path)))


def in_a_process(model_dir: Path, **changes: Any) -> dict[str, Any]:
    """Load in a process of its own, where nothing is imported yet: the engine's details, or why not."""
    code = """
import json, logging, sys
from cosyserve.check.acceleration import ESTIMATOR
from cosyserve.protocol import EngineConfig
from cosyserve_workers.engine import LoadError, load_engine
logging.getLogger().addHandler(logging.NullHandler())
logging.getLogger().setLevel(logging.ERROR)
try:
    engine = load_engine(EngineConfig(**json.loads(sys.argv[1])))
    said = {"type": engine.model_type, "rate": engine.sample_rate, "streams": engine.streams, **engine.details}
except LoadError as error:
    said = {"error": str(error)}
print(json.dumps({**said, "level": logging.getLogger().level, "handlers": len(logging.getLogger().handlers)}))
"""
    fields = {"engine": "cosyvoice", "model_dir": str(model_dir), **changes}
    command = [sys.executable, "-W", "ignore", "-c", code, json.dumps(fields)]
    # Other tests have put the library on this process's path.
    path = [folder for folder in sys.path if folder != str(kit.library_dir().resolve())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    said: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return said


def test_another_file_of_the_language_model_is_refused(small_checkpoint: Path) -> None:
    with pytest.raises(LoadError, match=r"reads llm\.pt, not llm\.rl\.pt: set model\.language_model_file"):
        load(kit.config(small_checkpoint, language_model_file="llm.rl.pt"), BARE)


def test_no_library_anywhere(small_checkpoint: Path) -> None:
    said = in_a_process(small_checkpoint)
    assert said["error"].startswith("the CosyVoice library is not importable: git clone --recursive")


TRAINING_SECTION = """
parquet_opener: !name:cosyvoice.dataset.processor.parquet_opener
tokenize: !name:cosyvoice.dataset.processor.tokenize
    get_tokenizer: !ref <get_tokenizer>
    allowed_special: !ref <allowed_special>
compute_f0: !name:cosyvoice.dataset.processor.compute_f0
    sample_rate: !ref <sample_rate>
    hop_size: 480
data_pipeline: [!ref <parquet_opener>, !ref <tokenize>, !ref <compute_f0>]
"""


@pytest.mark.full
def test_a_published_yaml_loads_and_leaves_the_log_as_it_was(copy: Path) -> None:
    """Its training section binds functions of a module that imports pyworld, which has no wheels."""
    replace(copy / "cosyvoice2.yaml", (copy / "cosyvoice2.yaml").read_bytes() + TRAINING_SECTION.encode())
    said = in_a_process(copy, source_dir=str(kit.library_dir()), streams=3)
    assert (said["type"], said["rate"], said["streams"]) == ("CosyVoice2", 24_000, 3)
    assert (said["level"], said["handlers"]) == (logging.ERROR, 1)


def test_the_details_tell_what_is_really_on(cosyvoice: Any) -> None:
    assert cosyvoice.details["precision"] == "fp32"
    assert cosyvoice.details["tensorrt"].startswith("off: there is no CUDA GPU")
    assert cosyvoice.details["vllm"] == "off"
    assert cosyvoice.streams >= 2


# Accelerations


@pytest.mark.parametrize(
    ("changes", "machine", "said"),
    [
        ({"tensorrt": "true"}, BARE, r"TensorRT is asked for, but there is no CUDA GPU: .*nvidia-smi.*; or set"),
        ({"tensorrt": "true"}, Machine("GPU", None, None), r"pip install .*\[tensorrt\]'"),
        ({"tensorrt": "true"}, RICH, "estimator.fp32.onnx is missing"),
        ({"vllm": True}, BARE, "vllm needs a CUDA GPU"),
        ({"vllm": True}, Machine("GPU", None, None), "pip install vllm"),
        ({"precision": "int4"}, BARE, "set it to auto, fp32 or fp16"),
    ],
)
def test_what_is_demanded_and_not_there(tmp_path: Path, changes: dict[str, Any], machine: Machine, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        choose(EngineConfig("cosyvoice", str(tmp_path), **changes), machine)


def test_tensorrt_demanded_without_a_gpu_stops_the_real_load(small_checkpoint: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(LoadError, match="there is no CUDA GPU"):
        load_engine(kit.config(small_checkpoint, tensorrt="true"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"load_trt": True, "load_vllm": False, "fp16": False, "trt_concurrent": 1}),
        (
            {"tensorrt": "true", "precision": "fp16"},
            {"load_trt": True, "load_vllm": False, "fp16": True, "trt_concurrent": 1},
        ),
        ({"tensorrt": "false"}, {"load_trt": False, "load_vllm": False, "fp16": False, "trt_concurrent": 1}),
    ],
)
def test_the_flags_reach_the_library(
    copy: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    import cosyvoice.cli.cosyvoice as library

    (copy / ESTIMATOR).write_bytes(b"what plans are built from")
    seen: list[dict[str, Any]] = []
    real = library.CosyVoice2

    def spy(**arguments: Any) -> Any:
        seen.append(arguments)
        return real(**arguments)

    monkeypatch.setattr(library, "CosyVoice2", spy)
    # The real constructor sees no GPU here, and turns off what needs one.
    loaded = load(kit.config(copy, **changes), RICH)
    (arguments,) = seen
    folder = Path(arguments.pop("model_dir"))
    assert arguments == expected
    assert (folder == copy) is not expected["load_trt"]
    assert (folder / "llm.pt").samefile(copy / "llm.pt")
    assert loaded.details["tensorrt"].startswith("off: ")
    assert loaded.details["precision"] == "fp32"


def test_vllm_is_passed_on(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cosyvoice.cli.cosyvoice as library

    seen: list[dict[str, Any]] = []
    real = library.CosyVoice2

    def spy(**arguments: Any) -> Any:
        seen.append(arguments.copy())
        return real(**{**arguments, "load_vllm": False})  # this snapshot would import it, GPU or not

    monkeypatch.setattr(library, "CosyVoice2", spy)
    load(kit.config(copy, vllm=True, tensorrt="false"), RICH)
    assert seen[0]["load_vllm"] is True
    assert Path(seen[0]["model_dir"]) != copy, "the library exports the model into its folder"


def test_a_plan_that_fails_to_load_is_done_without_unless_demanded(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cosyvoice.cli.cosyvoice as library

    (copy / ESTIMATOR).write_bytes(b"what plans are built from")
    real = library.CosyVoice2

    def refuse_plans(**arguments: Any) -> Any:
        if arguments["load_trt"]:
            raise RuntimeError("no plan")
        return real(**arguments)

    monkeypatch.setattr(library, "CosyVoice2", refuse_plans)
    assert load(kit.config(copy), RICH).details["tensorrt"] == "off: it failed to load, see the log"
    (copy / ESTIMATOR).unlink()
    (copy / ESTIMATOR).symlink_to(copy / "campplus.onnx")
    with pytest.raises(RuntimeError, match="no plan"):
        load(kit.config(copy, tensorrt="true"), RICH)


# The folder for plans


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model folder as far as plans are concerned."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / ESTIMATOR).write_bytes(b"network")
    (folder / "flow.decoder.estimator.fp32.mygpu.plan").write_bytes(b"of another GPU")
    return folder


def test_each_gpu_version_and_model_has_a_folder_of_its_own(source: Path) -> None:
    folders = []
    for machine, network in [
        (RICH, b"network"),
        (Machine("NVIDIA A10", RICH.tensorrt, None), b"network"),
        (Machine(RICH.gpu, "10.14", None), b"network"),
        (RICH, b"another network"),
    ]:
        (source / ESTIMATOR).write_bytes(network)
        with building_folder(source, PLAN, machine) as folder:
            folders.append(folder)
            assert (folder / ESTIMATOR).read_bytes() == network
            assert not list(folder.glob("*.plan")), "nobody knows which GPU the plan in the model folder is for"
    assert len(set(folders)) == len(folders)


def test_a_finished_plan_is_used_again_and_a_broken_off_one_thrown_away(source: Path) -> None:
    def build_half() -> None:
        with building_folder(source, PLAN, RICH) as folder:
            (folder / "half.plan").write_bytes(b"ha")
            (folder / "vllm").mkdir()
            (folder / "vllm" / "config.json").write_bytes(b"{")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_half()
    with building_folder(source, PLAN, RICH) as folder:
        assert not (folder / "half.plan").exists()
        assert not (folder / "vllm").exists()
        (folder / "whole.plan").write_bytes(b"whole")
    with building_folder(source, PLAN, RICH) as folder:
        assert (folder / "whole.plan").read_bytes() == b"whole"


def test_two_workers_never_build_at_once(source: Path) -> None:
    first_is_in, builds = threading.Event(), []

    def second() -> None:
        first_is_in.wait()
        with building_folder(source, PLAN, RICH) as folder:
            builds.append((folder / "made.plan").read_bytes())

    with kit.running(second) as (thread,), building_folder(source, PLAN, RICH) as folder:
        first_is_in.set()
        thread.join(0.2)  # however long it waits, it must not get in
        assert not builds
        (folder / "made.plan").write_bytes(b"whole")
    assert builds == [b"whole"]


def test_a_model_folder_that_cannot_be_written_has_its_plans_in_the_cache(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file in the way, since some tests run as a user that no mode stops.
    (source / ".cosyserve").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with building_folder(source, PLAN, RICH) as folder:
        assert folder.is_relative_to(tmp_path / "cache" / "cosyserve")
        assert (folder / ESTIMATOR).samefile(source / ESTIMATOR)
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    with pytest.raises(LoadError, match="set XDG_CACHE_HOME"), building_folder(source, PLAN, RICH):
        pass


def test_nothing_is_written_where_nothing_is_built(source: Path) -> None:
    with building_folder(source, Accelerations(fp16=False, tensorrt=False, vllm=False), RICH) as folder:
        assert folder == source
    assert not (source / ".cosyserve").exists()
