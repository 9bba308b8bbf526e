"""The front end loads no model code, and what workers import before they are pinned loads not even numpy."""

import functools
import json
import subprocess
import sys
import tempfile

import pytest

MODEL_CODE = {"torch", "torchaudio", "onnxruntime", "transformers", "tensorrt", "vllm", "espeakng_loader", "librosa"}

BUILD_APP = """
from cosyserve.http.app import build_app
from cosyserve.settings.loading import load_settings
build_app(load_settings())
"""
EVERY_MODULE = """
import pkgutil, importlib, cosyserve
for module in pkgutil.walk_packages(cosyserve.__path__, "cosyserve."):
    if not module.name.startswith("cosyserve.cluster"):
        importlib.import_module(module.name)
"""
CLUSTER = """
import pkgutil, importlib, cosyserve.cluster
for module in pkgutil.walk_packages(cosyserve.cluster.__path__, "cosyserve.cluster."):
    importlib.import_module(module.name)
"""


@functools.cache
def loaded_after(code: str) -> set[str]:
    """The top-level modules that are loaded when `code` has run in an interpreter of its own."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", f"{code}\n{report}"], cwd=folder, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(names)


@pytest.mark.parametrize("code", [BUILD_APP, "import cosyserve.cli; cosyserve.cli._parser()", EVERY_MODULE, CLUSTER])
def test_no_model_code(code: str) -> None:
    loaded = loaded_after(code)
    assert "cosyserve" in loaded
    assert not loaded & MODEL_CODE
    assert "cosyserve_workers" not in loaded


@pytest.mark.parametrize("code", [BUILD_APP, EVERY_MODULE])
def test_nothing_of_buckets_and_spans_where_nobody_wants_them(code: str) -> None:
    loaded = loaded_after(code)
    assert not loaded & {"fsspec", "s3fs", "aiobotocore", "botocore", "aiohttp", "opentelemetry", "requests", "ray"}


def test_no_codecs_before_an_answer_needs_them() -> None:
    assert "av" not in loaded_after(BUILD_APP)


def test_no_decoder_though_the_configured_prompt_has_been_decoded() -> None:
    code = f"{BUILD_APP}\nassert build_app(load_settings()).state.service.default.prompt is not None"
    assert not loaded_after(code) & {"av", "soundfile"}


def test_a_helper_loads_what_it_is_told_to_and_no_more() -> None:
    """Its libraries' threads are limited before they are loaded."""
    loaded = loaded_after("import cosyserve.wire.helper_main")
    assert not loaded & {*MODEL_CODE, "numpy", "soundfile", "av", "starlette", "pydantic", "structlog"}


@pytest.mark.parametrize("module", ["cosyserve.pool.launch", "cosyserve.__main__", "cosyserve.protocol"])
def test_no_numpy_before_a_worker_is_pinned(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert "cosyserve" in loaded
    assert not loaded & {*MODEL_CODE, "numpy", "soundfile", "soxr", "starlette", "hypercorn", "pydantic"}


def test_the_message_classes_need_no_numpy_to_be_unpickled() -> None:
    """A worker unpickles its WorkerSpec before the thread counts are set."""
    code = (
        "import pickle\n"
        "from cosyserve.wire.worker_spec import WorkerSpec\n"
        "from cosyserve.protocol import EngineConfig\n"
        "spec = WorkerSpec(0, EngineConfig('demo', '', '', 'auto', 'auto', False, 0, None), None, 1, 'info')\n"
        "assert pickle.loads(pickle.dumps(spec)) == spec"
    )
    assert "numpy" not in loaded_after(code)
