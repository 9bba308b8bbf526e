"""`cosyserve check`: real folders, real package metadata on a real import path, and stand-ins for nvidia-smi."""

import importlib
import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cosyserve.check import report as check
from cosyserve.check.engines import Choice, choose, engine_problems, library_problems, model_folder_problems
from cosyserve.check.library_folder import library_findings
from cosyserve.check.model_folder import MODELS
from cosyserve.check.remedies import install as remedy
from cosyserve.cli import _overrides, _parser

COMMON = (
    "llm.pt",
    "flow.pt",
    "hift.pt",
    "campplus.onnx",
    "CosyVoice-BlankEN/config.json",
    "CosyVoice-BlankEN/model.safetensors",
    "CosyVoice-BlankEN/vocab.json",
    "CosyVoice-BlankEN/merges.txt",
)
COSYVOICE2 = (*COMMON, "cosyvoice2.yaml", "speech_tokenizer_v2.onnx")
COSYVOICE3 = (*COMMON, "cosyvoice3.yaml", "speech_tokenizer_v3.onnx")


def make_model(directory: Path, files: tuple[str, ...] = COSYVOICE2) -> Path:
    for name in files:
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(whole_file(name))
    return directory


def whole_file(name: str) -> bytes:
    """As little as a file of that name can have and be whole."""
    match Path(name).suffix:
        case ".pt":
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w") as archive:
                archive.writestr("archive/data.pkl", b"weights")
            return content.getvalue()
        case ".onnx":
            return b"\x08\x08\x3a\x02\x0a\x00"
        case ".safetensors":
            return b"\x02\0\0\0\0\0\0\0{}"
    return b"text"


# Made before packages are hidden: the client's are among them.
PARSER = _parser()


def run_check(*argv: str) -> int:
    """With no rehearsal: that is the service's, which needs more packages than there are here."""
    args = PARSER.parse_args(["check", *argv])
    return check.run(args.config, _overrides(args), lambda _: [], every_engine=args.all)


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration, variable or GPU of the machine takes part."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in [name for name in os.environ if name.startswith(("COSYSERVE_", "CUDA_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of packages there is: nothing else that is installed can be found."""
    folder = tmp_path / "site"
    folder.mkdir()
    # A snapshot of the library lies inside an installed package, and other tests put its folder on the path.
    standard = [entry for entry in sys.path if entry and "-packages" not in entry]
    standard = [entry for entry in standard if not entry.endswith(("src", "workers"))]
    monkeypatch.setattr(sys, "path", [str(folder), *standard])
    # What other tests have imported would be found without looking for it.
    for module in (
        "torch",
        "onnxruntime",
        "transformers",
        "espeakng_loader",
        "cosyvoice",
        "matcha",
        "tensorrt",
        "vllm",
    ):
        monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.invalidate_caches()
    return folder


@pytest.fixture
def install(site: Path) -> Callable[..., None]:
    """Put a distribution's metadata into `site`, as pip does."""

    def write(name: str, version: str = "1.0", requires: tuple[str, ...] = ()) -> None:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
        (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {line}" for line in requires), ""]))
        importlib.invalidate_caches()

    return write


class TestModelFolder:
    @pytest.mark.parametrize("files", [COSYVOICE2, COSYVOICE3])
    def test_whole_folder_has_no_problems(self, tmp_path: Path, files: tuple[str, ...]) -> None:
        assert model_folder_problems(make_model(tmp_path / "m", files)) == []

    @pytest.mark.parametrize("files", [COSYVOICE2, COSYVOICE3])
    def test_each_missing_file_is_named(self, tmp_path: Path, files: tuple[str, ...]) -> None:
        for name in files:
            if name.endswith(".yaml"):
                continue
            folder = make_model(tmp_path / name.replace("/", "_"), files)
            (folder / name).unlink()
            [problem] = model_folder_problems(folder)
            assert problem.startswith(f"{folder / name} is missing: ")
            assert f"--include {name} --local_dir {folder}" in problem

    @pytest.mark.parametrize("name", COSYVOICE2)
    def test_empty_file_is_named(self, tmp_path: Path, name: str) -> None:
        folder = make_model(tmp_path / "m")
        (folder / name).write_bytes(b"")
        [problem] = model_folder_problems(folder)
        assert problem.startswith(f"{folder / name} is empty: delete")

    def test_git_lfs_pointer_is_not_a_weight_file(self, tmp_path: Path) -> None:
        folder = make_model(tmp_path / "m")
        (folder / "llm.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        [problem] = model_folder_problems(folder)
        assert "llm.pt is a Git LFS pointer" in problem

    @pytest.mark.parametrize("name", ["llm.pt", "campplus.onnx", "CosyVoice-BlankEN/model.safetensors"])
    def test_file_that_is_cut_short_is_named(self, tmp_path: Path, name: str) -> None:
        folder = make_model(tmp_path / "m")
        (folder / name).write_bytes(whole_file(name)[:-1])
        [problem] = model_folder_problems(folder)
        assert problem.startswith(f"{folder / name} is cut short, or not what its name says: delete what is damaged")
        assert f"--include {name} " in problem

    def test_folder_in_a_files_place(self, tmp_path: Path) -> None:
        folder = make_model(tmp_path / "m")
        (folder / "hift.pt").unlink()
        (folder / "hift.pt").mkdir()
        [problem] = model_folder_problems(folder)
        assert "hift.pt is a folder" in problem

    def test_several_problems_are_all_told(self, tmp_path: Path) -> None:
        folder = make_model(tmp_path / "m")
        (folder / "llm.pt").unlink()
        (folder / "flow.pt").write_bytes(b"")
        missing, empty = model_folder_problems(folder)
        assert "llm.pt is missing" in missing
        assert "flow.pt is empty" in empty
        assert "--include llm.pt flow.pt" in missing

    def test_other_forms_of_weights_and_tokenizer_are_accepted(self, tmp_path: Path) -> None:
        folder = make_model(tmp_path / "m")
        blank = folder / "CosyVoice-BlankEN"
        (blank / "model.safetensors").rename(blank / "pytorch_model.bin")
        (blank / "vocab.json").rename(blank / "tokenizer.json")
        (blank / "merges.txt").unlink()
        assert model_folder_problems(folder) == []

    def test_damaged_alternative_is_blamed_before_an_absent_one(self, tmp_path: Path) -> None:
        folder = make_model(tmp_path / "m")
        blank = folder / "CosyVoice-BlankEN"
        (blank / "model.safetensors").unlink()
        (blank / "pytorch_model.bin").write_bytes(b"")
        [problem] = model_folder_problems(folder)
        assert "pytorch_model.bin is empty" in problem

    def test_missing_folder_says_how_to_get_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "my models" / "CosyVoice2"
        [problem] = model_folder_problems(folder)
        assert problem.startswith(f"the model folder {folder} is missing: ")
        assert f"modelscope download --model iic/CosyVoice2-0.5B --local_dir '{folder}'" in problem

    def test_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "llm.pt").write_text("x")
        [problem] = model_folder_problems(tmp_path)
        assert "holds neither cosyvoice2.yaml nor cosyvoice3.yaml" in problem

    def test_file_in_the_folders_place(self, tmp_path: Path) -> None:
        file = tmp_path / "model.tar"
        file.write_text("x")
        assert model_folder_problems(file) == [f"the model folder {file} is a file: set model.dir to a model folder"]

    def test_path_that_the_system_refuses(self, tmp_path: Path) -> None:
        [problem] = model_folder_problems(tmp_path / ("x" * 300))
        assert "cannot be read" in problem


class TestEngines:
    def test_everything_of_the_extra_is_asked_for(self, install: Callable[..., None], tmp_path: Path) -> None:
        install("torch")
        install(
            "cosyserve",
            requires=(
                "anyio>=4",
                "torch<3,>=2.6; extra == 'native'",
                'my-mel>=1; extra == "native"',
                "x; extra == 'dev'",
            ),
        )
        assert engine_problems("native", make_model(tmp_path / "m")) == [
            f"the engine native needs the package my-mel: {remedy('native')}"
        ]

    def test_requirement_with_a_further_condition_may_be_absent(
        self, install: Callable[..., None], tmp_path: Path
    ) -> None:
        install("torch")
        install("cosyserve", requires=("torch; extra == 'native'", "w; sys_platform == 'win32' and extra == 'native'"))
        assert engine_problems("native", make_model(tmp_path / "m")) == []

    def test_module_of_another_distribution_counts(
        self, install: Callable[..., None], site: Path, tmp_path: Path
    ) -> None:
        install("cosyserve", requires=("onnxruntime-gpu; extra == 'native'",))
        model = make_model(tmp_path / "m")
        assert len(engine_problems("native", model)) == 1
        (site / "onnxruntime").mkdir()
        (site / "onnxruntime" / "__init__.py").write_text("raise RuntimeError('imported')")
        importlib.invalidate_caches()
        assert engine_problems("native", model) == []
        assert "onnxruntime" not in sys.modules

    @pytest.mark.parametrize(
        ("engine", "package"), [("demo", "espeakng-loader"), ("native", "torch"), ("cosyvoice", "torch")]
    )
    def test_bare_checkout_asks_for_the_essential(self, site: Path, tmp_path: Path, engine: str, package: str) -> None:
        model = make_model(tmp_path / "m")
        assert engine_problems(engine, model) == [f"the engine {engine} needs the package {package}: {remedy(engine)}"]
        (site / f"{package.replace('-', '_')}.py").write_text("")
        importlib.invalidate_caches()
        assert engine_problems(engine, model) == []

    def test_model_folder_is_asked_for_where_it_is_needed(self, install: Callable[..., None], tmp_path: Path) -> None:
        install("torch")
        install("espeakng-loader")
        gone = tmp_path / "gone"
        for engine in ("native", "cosyvoice"):
            [problem] = engine_problems(engine, gone)
            assert problem.startswith(f"the model folder {gone} is missing: ")
        assert engine_problems("demo", gone) == []

    @pytest.mark.parametrize("version", ["4.53.0", "4.57.6", "5.23.0"])
    def test_transformers_that_makes_the_model_forget(
        self, install: Callable[..., None], tmp_path: Path, version: str
    ) -> None:
        install("torch")
        install("transformers", version)
        [problem] = engine_problems("cosyvoice", make_model(tmp_path / "m"))
        assert problem.startswith(f"with transformers {version} the library's language model forgets the text")
        assert problem.endswith(": pip install 'transformers<4.53'")
        assert engine_problems("native", tmp_path / "m") == []

    @pytest.mark.parametrize("version", ["4.51.3", "4.52.4"])
    def test_transformers_that_does_not(self, install: Callable[..., None], tmp_path: Path, version: str) -> None:
        install("torch")
        install("transformers", version)
        assert engine_problems("cosyvoice", make_model(tmp_path / "m")) == []

    @pytest.mark.parametrize("engine", ["native", "cosyvoice"])
    def test_both_engines_take_cosyvoice3(self, install: Callable[..., None], tmp_path: Path, engine: str) -> None:
        install("torch")
        assert engine_problems(engine, make_model(tmp_path / "m", COSYVOICE3)) == []

    def test_own_engine_is_looked_up_and_not_imported(self, site: Path) -> None:
        [problem] = engine_problems("my_tts.engine:create", site)
        assert problem.startswith("the engine my_tts.engine:create needs the package 'my_tts': ")
        (site / "my_tts").mkdir()
        (site / "my_tts" / "__init__.py").write_text("raise RuntimeError('imported')")
        importlib.invalidate_caches()
        assert engine_problems("my_tts.engine:create", site) == []

    @pytest.mark.parametrize("engine", ["cosyvoice2", "", ":create", "my_tts:", "my_tts"])
    def test_unknown_engine(self, engine: str, tmp_path: Path) -> None:
        [problem] = engine_problems(engine, tmp_path)
        assert "is not known: use auto, one of native, cosyvoice, demo" in problem

    def test_relative_module_is_no_package(self, tmp_path: Path) -> None:
        [problem] = engine_problems(".engine:create", tmp_path)
        assert "needs the package" in problem


GPU = 'case "$*" in *driver*) echo 570.1 ;; *) echo 0 ;; esac'
"""nvidia-smi on a machine with one."""


class TestAuto:
    """Which engine `auto` is."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return make_sources(tmp_path / "CosyVoice", models=("CosyVoice2",), prompt="prompt_wav")

    def test_a_named_engine_is_itself(self) -> None:
        assert choose("demo", None, "auto") == Choice("demo")

    def test_the_library_where_all_that_it_is_worth_is_there(
        self, site: Path, source: Path, nvidia_smi: Callable[[str], None]
    ) -> None:
        nvidia_smi(GPU)
        (site / "tensorrt.py").write_text("raise RuntimeError('imported')")
        importlib.invalidate_caches()
        choice = choose("auto", source, "auto")
        assert choice.engine == "cosyvoice"
        assert "TensorRT and a GPU are there" in choice.why

    @pytest.mark.usefixtures("site")
    def test_native_where_nothing_is(self) -> None:
        choice = choose("auto", None, "auto")
        assert choice.engine == "native"
        assert choice.why.endswith("the CosyVoice library is not there, TensorRT is not installed, there is no GPU")

    @pytest.mark.parametrize("lack", ["library", "tensorrt", "gpu", "visible gpu", "device"])
    def test_native_where_one_of_it_is_missing(
        self, site: Path, source: Path, nvidia_smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, lack: str
    ) -> None:
        nvidia_smi("exit 9" if lack == "gpu" else GPU)
        if lack != "tensorrt":
            (site / "tensorrt.py").touch()
        if lack == "visible gpu":
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        importlib.invalidate_caches()
        choice = choose("auto", None if lack == "library" else source, "cpu" if lack == "device" else "auto")
        assert choice.engine == "native"
        assert choice.why.count(",") == 1

    def test_the_engine_that_is_taken_is_told_with_the_reason(
        self, install: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("torch")
        folder = make_model(tmp_path / "m", COSYVOICE3)
        run_check("--model-dir", str(folder))
        report = capsys.readouterr().out
        assert "  ok       the engine native: model.engine is auto, and the CosyVoice library is not there" in report


class TestLibrary:
    def make_library(self, folder: Path) -> Path:
        (folder / "cosyvoice" / "cli").mkdir(parents=True)
        (folder / "cosyvoice" / "__init__.py").write_text("")
        (folder / "cosyvoice" / "cli" / "cosyvoice.py").write_text("")
        return folder

    @pytest.mark.usefixtures("site")
    @pytest.mark.parametrize("matcha", ["third_party/Matcha-TTS/matcha", "matcha"])
    def test_checkout(self, tmp_path: Path, matcha: str) -> None:
        source = self.make_library(tmp_path / "CosyVoice")
        [problem] = library_problems(source)
        assert problem == (
            f"{source} lacks its submodule Matcha-TTS: git -C {source} submodule update --init --recursive"
        )
        (source / matcha).mkdir(parents=True)
        assert library_problems(source) == []

    def test_folder_without_it(self, tmp_path: Path) -> None:
        [problem] = library_problems(tmp_path)
        assert problem.startswith(f"model.source_dir {tmp_path} holds no CosyVoice library: git clone --recursive ")

    def test_import_path(self, site: Path) -> None:
        (site / "cosyvoice.py").write_text("")
        importlib.invalidate_caches()
        [problem] = library_problems(None)
        assert problem.startswith("the CosyVoice library is not importable: ")
        (site / "cosyvoice.py").unlink()
        self.make_library(site)
        importlib.invalidate_caches()
        assert library_problems(None) == []

    def test_checkout_of_today_and_of_last_year(self, tmp_path: Path) -> None:
        source = make_sources(tmp_path / "CosyVoice", models=("CosyVoice2", "CosyVoice3"), prompt="prompt_wav")
        [finding] = library_findings(source, MODELS[1])
        assert (finding.state, finding.text) == (
            "ok",
            f"the CosyVoice library in {source}: CosyVoice2 and CosyVoice3, prompts by path",
        )
        older = make_sources(tmp_path / "older", models=("CosyVoice2",), prompt="prompt_speech_16k")
        assert library_findings(older, MODELS[0])[0].text.endswith(": CosyVoice2, prompts by tensor")
        [problem] = library_findings(older, MODELS[1])
        assert problem.text.endswith("does not know CosyVoice3, only CosyVoice2")
        assert problem.remedy.startswith(f"git -C {older} pull --recurse-submodules")
        assert problem.stops

    def test_checkout_that_cannot_stream(self, tmp_path: Path) -> None:
        source = make_sources(tmp_path / "old", models=("CosyVoice2",), prompt="prompt_speech_16k", flow="finalize")
        [problem] = library_findings(source, MODELS[0])
        assert "of a generation that cosyserve does not know" in problem.text
        assert problem.stops

    def test_sources_that_cannot_be_read_are_no_known_generation(self, tmp_path: Path) -> None:
        source = make_sources(tmp_path / "odd", models=("CosyVoice2",), prompt="prompt_wav")
        (source / "cosyvoice" / "flow" / "flow.py").write_text("def inference(:")
        [problem] = library_findings(source, None)
        assert problem.stops


def make_sources(folder: Path, *, models: tuple[str, ...], prompt: str, flow: str = "streaming, finalize") -> Path:
    """A checkout as far as its generation shows."""
    files = {
        "cosyvoice/cli/cosyvoice.py": "".join(f"class {model}: pass\n" for model in models),
        "cosyvoice/cli/frontend.py": f"class FrontEnd:\n    def frontend_zero_shot(self, tts_text, {prompt}): pass\n",
        "cosyvoice/flow/flow.py": f"class Flow:\n    def inference(self, token, {flow}): pass\n",
        "third_party/Matcha-TTS/matcha/__init__.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def answer_the_trial(site: Path, problem: str) -> None:
    """Put a stand-in for the worker's side where it is found first: what imports the library would say so."""
    package = site / "cosyserve_workers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "trial.py").write_text(f"import json\nprint(json.dumps({{'problem': {problem!r}}}))\n")


class TestGpus:
    def test_each_gpu_is_listed(self, nvidia_smi: Callable[[str], None]) -> None:
        nvidia_smi(
            'asked="--query-gpu=index,name,memory.total,driver_version,compute_cap --format=csv,noheader"\n'
            'test "$*" = "$asked" || exit 2\n'
            "echo '0, NVIDIA L20, 46068 MiB, 550.54.15, 8.9'\n"
            "echo '1, NVIDIA H100 80GB HBM3, 81559 MiB, 550.54.15, 9.0'"
        )
        assert [(finding.state, finding.text) for finding in check.gpus()] == [
            ("ok", "0  NVIDIA L20, 46068 MiB, driver 550.54.15, compute capability 8.9"),
            ("ok", "1  NVIDIA H100 80GB HBM3, 81559 MiB, driver 550.54.15, compute capability 9.0"),
        ]

    def test_restriction_is_shown(self, nvidia_smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
        nvidia_smi("echo '0, NVIDIA L20, 46068 MiB, 550.54.15, 8.9'")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert check.gpus()[-1].text == "CUDA_VISIBLE_DEVICES=: workers see no others"

    def test_not_installed(self) -> None:
        [finding] = check.gpus()
        assert finding.text == "no NVIDIA GPU found: nvidia-smi is not installed"
        assert "demo works" in finding.remedy
        assert not finding.stops

    def test_failure_is_quoted(self, nvidia_smi: Callable[[str], None]) -> None:
        nvidia_smi("echo; echo 'Failed to initialize NVML: Driver/library version mismatch' >&2; exit 18")
        [finding] = check.gpus()
        assert "nvidia-smi failed (Failed to initialize NVML: Driver/library version mismatch)" in finding.text

    def test_silent_failure(self, nvidia_smi: Callable[[str], None]) -> None:
        nvidia_smi("exit 9")
        assert "nvidia-smi failed (it said nothing)" in check.gpus()[0].text

    def test_no_devices(self, nvidia_smi: Callable[[str], None]) -> None:
        nvidia_smi("echo 'No devices were found'")
        assert "nvidia-smi listed none (No devices were found)" in check.gpus()[0].text

    def test_hanging_one_is_given_up(self, nvidia_smi: Callable[[str], None], tmp_path: Path) -> None:
        alive = tmp_path / "alive"
        os.mkfifo(alive)
        watch = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
        # Its child holds our pipe open too, and must go with it.
        nvidia_smi(f"exec 9>{alive}\nsleep 3600 &\nwait")
        [finding] = check.gpus(timeout_s=0.5)
        assert "nvidia-smi gave no answer in 0.5 s" in finding.text
        os.set_blocking(watch, True)
        assert os.read(watch, 1) == b""  # comes when nobody has the other end open any more
        os.close(watch)

    def test_not_a_program(self, nvidia_smi: Callable[..., None]) -> None:
        nvidia_smi("", interpreter="/nowhere/sh")
        assert "nvidia-smi cannot be run" in check.gpus()[0].text


class TestReport:
    def test_demo_can_start(self, install: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
        install("espeakng-loader", "0.2.4")
        install("cosyserve", requires=("espeakng-loader>=0.2; extra == 'demo'",))
        assert run_check("--engine", "demo") == 0
        report = capsys.readouterr().out
        assert "  ok       espeakng-loader      0.2.4\n" in report
        assert report.startswith("cosyserve can serve with the engine demo\n")
        assert "GPU" not in report
        assert "  missing" not in report

    def test_missing_package_comes_with_its_remedy(
        self, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        install(
            "cosyserve", requires=("espeakng-loader>=0.2; extra == 'demo'", "not-there>=0.5", "ruff; extra == 'dev'")
        )
        assert run_check("--engine", "demo") == 1
        report = capsys.readouterr().out
        assert report.startswith("cosyserve cannot serve with the engine demo: 2 problems below\n")
        needed = "the engine demo needs the package espeakng-loader"
        assert f"  missing  {needed}\n           -> {remedy('demo')}\n" in report
        assert "Packages: front end\n  missing  not-there is not installed\n           -> pip install" in report
        assert "ruff" not in report

    def test_native_needs_its_model(
        self, install: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("torch")
        folder = make_model(tmp_path / "m")
        arguments = ("--engine", "native", "--model-dir", str(folder))
        assert run_check(*arguments) == 0
        assert f"  ok       CosyVoice2 in {folder}\n" in capsys.readouterr().out
        (folder / "flow.pt").unlink()
        assert run_check(*arguments) == 1
        report = capsys.readouterr().out
        assert f"  missing  {folder}/flow.pt is missing\n           -> pip install modelscope" in report
        assert report.startswith("cosyserve cannot serve with the engine native: 1 problem below\n")

    def test_optional_files_stop_nothing(
        self, install: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("torch")
        folder = make_model(tmp_path / "m")
        (folder / "spk2info.pt").write_bytes(whole_file("spk2info.pt"))
        assert run_check("--engine", "native", "--model-dir", str(folder)) == 0
        report = capsys.readouterr().out
        assert "  note     flow.decoder.estimator.fp32.onnx (optional) is missing" in report
        assert "spk2info.pt" not in report

    def test_cosyvoice_needs_its_library(
        self, install: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("torch")
        config = tmp_path / "config.toml"
        config.write_text('[model]\nengine = "cosyvoice"\ndir = "m"\nsource_dir = "CosyVoice"\n')
        make_model(tmp_path / "m")
        assert run_check("--config", str(config)) == 1
        assert f"model.source_dir {tmp_path}/CosyVoice holds no CosyVoice library" in capsys.readouterr().out

    def test_cosyvoice_can_start_without_a_gpu_unless_tensorrt_is_demanded(
        self, install: Callable[..., None], site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("torch")
        answer_the_trial(site, "")
        make_model(tmp_path / "m")
        make_sources(tmp_path / "CosyVoice", models=("CosyVoice2",), prompt="prompt_wav")
        config = tmp_path / "config.toml"
        section = '[model]\nengine = "cosyvoice"\ndir = "m"\nsource_dir = "CosyVoice"\n'
        config.write_text(section)
        assert run_check("--config", str(config)) == 0
        report = capsys.readouterr().out
        assert "Acceleration\n  ok       the CosyVoice library in " in report
        assert "  note     without TensorRT: there is no CUDA GPU\n" in report
        config.write_text(f"{section}tensorrt = true\nvllm = true\n")
        assert run_check("--config", str(config)) == 1
        report = capsys.readouterr().out
        assert "  problem  TensorRT is asked for, but there is no CUDA GPU\n" in report
        assert "  missing  vllm needs a CUDA GPU, which is not there\n" in report
        assert '; or set model.tensorrt to "auto" or "false"\n' in report

    def test_what_the_trial_of_the_library_says_stops_the_engine(
        self, install: Callable[..., None], site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("torch")
        make_model(tmp_path / "m")
        make_sources(tmp_path / "CosyVoice", models=("CosyVoice2",), prompt="prompt_wav")
        answer_the_trial(site, "it needs the package wget: pip install wget")
        config = tmp_path / "config.toml"
        config.write_text('[model]\nengine = "cosyvoice"\ndir = "m"\nsource_dir = "CosyVoice"\n')
        assert run_check("--config", str(config)) == 1
        report = capsys.readouterr().out
        assert report.startswith("cosyserve cannot serve with the engine cosyvoice: 1 problem below\n")
        assert "  problem  it needs the package wget\n           -> pip install wget\n" in report

    def test_missing_model_names_both_places(
        self, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("torch")
        assert run_check("--engine", "native", "--model-dir", "gone") == 1
        report = capsys.readouterr().out
        assert f"--local_dir {Path.cwd()}/gone\n" in report
        assert f"hf download FunAudioLLM/CosyVoice2-0.5B --local-dir {Path.cwd()}/gone\n" in report

    def test_all_that_is_wrong_with_the_configuration(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = tmp_path / "broken.toml"
        config.write_text("[server]\nprot = 1\nport = -1\n")
        monkeypatch.setenv("COSYSERVE_PORT", "5")
        assert run_check("--config", str(config)) == 1
        report = capsys.readouterr().out
        verdict, read, *_ = report.splitlines()
        assert verdict == "cosyserve cannot serve with this configuration: 3 problems below"
        assert read == f"configuration: {config}"
        for problem in ("server.prot is not a setting", "server.port = -1: ", "COSYSERVE_PORT is not a setting"):
            assert f"  problem  {problem}" in report

    def test_the_file_that_was_read(self, install: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
        install("espeakng-loader")
        run_check("--engine", "demo")
        assert f"configuration: no file, there is no config.toml in {Path.cwd()}\n" in capsys.readouterr().out
        Path("config.toml").touch()
        run_check("--engine", "demo")
        assert f"configuration: {Path.cwd() / 'config.toml'}\n" in capsys.readouterr().out

    def test_the_configured_engine_alone_unless_all_are_asked_for(
        self, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("espeakng-loader")
        install("cosyserve", requires=("espeakng-loader; extra == 'demo'", "my-mel; extra == 'native'"))
        assert run_check("--engine", "demo") == 0
        assert "my-mel" not in capsys.readouterr().out
        assert run_check("--engine", "demo", "--all") == 0
        report = capsys.readouterr().out
        assert "  note     my-mel is not installed\n" in report
        assert "Model folder\n" in report

    def test_a_cap_below_the_workers_streams(
        self, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("espeakng-loader")
        config = Path("config.toml")
        config.write_text("[limits]\nmax_concurrency = 10\n[workers]\ncount = 8\n")
        assert run_check("--engine", "demo") == 0
        report = capsys.readouterr().out
        assert report.startswith("cosyserve can serve with the engine demo: 1 warning below\n")
        assert "  warning  limits.max_concurrency = 10 is less than the 80 streams of 8 workers\n" in report
        config.write_text("[limits]\nmax_concurrency = 0\n[workers]\ncount = 8\n")
        assert run_check("--engine", "demo") == 0
        assert "warning" not in capsys.readouterr().out

    def test_the_clients_variables(
        self, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("espeakng-loader")
        monkeypatch.setenv("COSYSERVE_URL", "http://voices:50000")
        assert run_check("--engine", "demo") == 0
        assert "  warning  COSYSERVE_URL is read by the client alone" in capsys.readouterr().out
