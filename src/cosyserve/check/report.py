"""Behind `cosyserve check`: can the configured engine start on this machine, and if not, what is to be done.

Nothing is imported here to find out: packages are looked up by name, the model folder and the library by their files,
GPUs by nvidia-smi. Two things are tried in processes of their own: the library is imported and, where there is a GPU,
torch is asked for it.
"""

import argparse
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from cosyserve import __version__
from cosyserve.check.acceleration import package_version, tensorrt_findings, torch_findings, vllm_lack
from cosyserve.check.finding import Finding, State
from cosyserve.check.library_folder import library_findings
from cosyserve.check.library_folder import library_problems as _library_problems
from cosyserve.check.library_trial import trial_findings
from cosyserve.check.model_folder import MODELS, OPTIONAL_FILES, file_fault, folder_problems, model_in
from cosyserve.check.nvidia import NoGpuError, query_gpus
from cosyserve.settings.loading import load_settings
from cosyserve.settings.sections import Settings, SettingsError

NEEDS_MODEL = frozenset({"cosyvoice", "native"})
"""The engines that load a CosyVoice model folder."""

# What an engine cannot be without; asked for where the installed package does not list its extras (a bare checkout).
ESSENTIAL = {"cosyvoice": "torch", "native": "torch", "demo": "espeakng-loader"}
# Where the module's name does not follow from the distribution's, and other distributions bring the same module.
MODULE_OF = {"onnxruntime-gpu": "onnxruntime", "openai-whisper": "whisper", "hydra-core": "hydra"}

# A requirement with no condition, or with no other condition than its extra.
REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+)[^;]*(?:;\s*extra\s*==\s*['"](?P<extra>[\w.-]+)['"]\s*)?""")

FORGETFUL_TRANSFORMERS = (4, 53)
"""From here on the library's one-step mask hides from its language model all but the first position, in silence."""


# For `serve` too


def model_folder_problems(directory: Path) -> list[str]:
    """Why `directory` is not a whole CosyVoice2 or CosyVoice3 model: each a line with its remedy. Empty if it is."""
    return _as_lines(folder_problems(directory))


def unknown_engine(engine: str) -> str:
    """Why `engine` is no name of an engine; empty if it is one."""
    parts = engine.partition(":")
    if engine in ESSENTIAL or all(parts):
        return ""
    known = f"use one of {', '.join(ESSENTIAL)}, or package.module:factory for your own"
    return f"the engine {engine} is not known: {known}"


def engine_problems(engine: str, model_dir: Path) -> list[str]:
    """Why `engine` cannot start, the model folder that it needs included: each a line with its remedy."""
    return _as_lines([*_engine_problems(engine, model_dir), *_needed_folder_problems(engine, model_dir)])


def library_problems(source_dir: Path | None) -> list[str]:
    """Why the engine `cosyvoice` would not find its library, in `source_dir` or on the import path."""
    return _as_lines(_library_problems(source_dir))


def _as_lines(findings: Iterable[Finding]) -> list[str]:
    return [f"{finding.text}: {finding.remedy}" for finding in findings]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cosyserve check`: those of `serve` that it depends on."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the configuration (config.toml, where there is one)"
    )
    parser.add_argument("--engine", help="demo, native, cosyvoice or package.module:factory, instead of the configured")
    parser.add_argument("--model-dir", type=Path, metavar="DIR", help="the model folder, instead of the configured")


def run(args: argparse.Namespace) -> int:
    """Print the report. Returns 0 when the configured engine can start, else 1."""
    _print_section("cosyserve", _program())
    for title, findings in _packages().items():
        _print_section(title, findings)
    _print_section("GPUs", gpus())
    try:
        settings = load_settings(args.config, _overrides(args))
    except SettingsError as error:
        _print_section("Configuration", [Finding(State.PROBLEM, str(error), "correct it and check again")])
        return 1
    _print_section("Model folder", _model_folder(settings))
    beside = _cosyvoice(settings) if settings.model.engine == "cosyvoice" else []
    if beside:
        _print_section("Library and accelerations", beside)
    _print_section("Engine", verdict := _engine(settings, beside))
    return 1 if any(finding.stops for finding in verdict) else 0


def _overrides(args: argparse.Namespace) -> dict[str, dict[str, object]]:
    model: dict[str, object] = {}
    if args.engine is not None:
        model["engine"] = args.engine
    if args.model_dir is not None:
        # A path typed in a shell counts from the shell's folder, not from the configuration's.
        model["dir"] = args.model_dir.absolute()
    return {"model": model}


def _print_section(title: str, findings: Iterable[Finding]) -> None:
    print(title)
    shown = ""
    for finding in findings:
        # One remedy for several lines is said once, below the last of them.
        if shown and finding.remedy != shown:
            print(f"           -> {shown}")
        print(f"  {finding.state:<8} {finding.text}")
        shown = finding.remedy
    if shown:
        print(f"           -> {shown}")
    print()


# The report's sections


def _program() -> list[Finding]:
    return [
        Finding(State.OK, f"cosyserve {__version__}"),
        Finding(State.OK, f"Python {platform.python_version()} ({sys.executable})"),
    ]


def _packages() -> dict[str, list[Finding]]:
    requirements = _requirements()
    if not requirements:
        how = "pip install -e . in the checkout"
        return {"Packages": [Finding(State.NOTE, "cosyserve runs from a folder, not installed: extras unknown", how)]}
    return {
        f"Packages: {f'extra {extra}' if extra else 'front end'}": [_package(name, extra) for name in names]
        for extra, names in requirements.items()
        if extra != "dev"
    }


def _package(distribution: str, extra: str) -> Finding:
    version = _installed(distribution)
    if version:
        return Finding(State.OK, f"{distribution:<20} {version}")
    return Finding(State.MISSING, distribution, _pip_install(extra))


def gpus(timeout_s: float = 10) -> list[Finding]:
    """One line a GPU, or one that says why none is seen. timeout_s: for nvidia-smi, which can hang with its driver."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    limits = [Finding(State.NOTE, f"CUDA_VISIBLE_DEVICES={seen}: workers see no others")] if seen is not None else []
    try:
        rows = query_gpus("index", "name", "memory.total", "driver_version", "compute_cap", timeout_s=timeout_s)
    except NoGpuError as error:
        meaning = (
            "on the CPU the engine demo works, native and cosyvoice are slow; if there is a GPU, see to its driver"
        )
        return [Finding(State.NOTE, f"no NVIDIA GPU found: {error}", meaning), *limits]
    return [
        Finding(State.OK, f"{index}  {name}, {memory}, driver {driver}, compute capability {capability}")
        for index, name, memory, driver, capability in rows
    ] + limits


def _model_folder(settings: Settings) -> list[Finding]:
    directory, engine = settings.model.dir, settings.model.engine
    problems = folder_problems(directory)
    model = model_in(directory)
    if engine not in NEEDS_MODEL:
        unneeded = [Finding(State.NOTE, f"only the engines {' and '.join(sorted(NEEDS_MODEL))} need one")]
        return unneeded + [Finding(State.NOTE, problem.text, problem.remedy) for problem in problems]
    if model is None:
        mirror = f"pip install huggingface_hub && hf download {MODELS[0].huggingface} --local-dir"
        return [
            *problems,
            Finding(State.NOTE, "or the same from Hugging Face", f"{mirror} {shlex.quote(str(directory))}"),
        ]
    state = State.PROBLEM if problems else State.OK
    whole = Finding(state, f"{model.name} in {directory}{', not whole' if problems else ''}")
    return [whole, *problems, *_optional_files(directory)]


def _optional_files(directory: Path) -> list[Finding]:
    return [
        Finding(State.NOTE, f"{name} (optional) {fault}: {meaning}")
        for name, meaning in OPTIONAL_FILES.items()
        if (fault := file_fault(directory / name))
    ]


def _engine(settings: Settings, beside: list[Finding]) -> list[Finding]:
    """Everything in the way of the configured engine, then the answer. beside: what it runs on beside its packages."""
    engine, directory = settings.model.engine, settings.model.dir
    problems = [*_engine_problems(engine, directory), *(finding for finding in beside if finding.stops)]
    if _needed_folder_problems(engine, directory):
        problems.append(Finding(State.PROBLEM, "the model folder is not usable", "see Model folder above"))
    if problems:
        return [*problems, Finding(State.PROBLEM, f"the engine {engine} cannot start")]
    reserve = "" if engine in ESSENTIAL else ", as far as can be seen without importing it"
    return [Finding(State.OK, f"the engine {engine} can start{reserve}")]


def _cosyvoice(settings: Settings) -> list[Finding]:
    """What the engine `cosyvoice` runs on beside its packages. What stops it here stops it."""
    model, gpu = settings.model, _has_gpu()
    findings = library_findings(model.source_dir, model_in(model.dir))
    if not any(finding.stops for finding in (*findings, *_engine_problems(model.engine, model.dir))):
        findings += trial_findings(model.source_dir, model.dir)
    findings += torch_findings(gpu=gpu)
    findings += tensorrt_findings(model.dir, model.tensorrt, gpu=gpu)
    if model.vllm and (lack := vllm_lack(gpu=gpu, vllm=package_version("vllm"))):
        findings.append(lack)
    return findings


def _has_gpu() -> bool:
    try:
        return bool(query_gpus("index"))
    except NoGpuError:
        return False


# Packages


def _requirements() -> dict[str, list[str]]:
    """Extra (the front end: "") -> distributions, as the installed package lists them; empty if it is not installed."""
    listed: dict[str, list[str]] = {}
    try:
        lines = metadata.requires("cosyserve") or []
    except metadata.PackageNotFoundError:
        return {}
    for line in lines:
        # One with further conditions (a platform, a Python version) may rightly be absent: pip knows.
        if match := REQUIREMENT.fullmatch(line):
            listed.setdefault(match["extra"] or "", []).append(match["name"])
    return listed


def _installed(distribution: str) -> str:
    """Its version; empty if it is missing."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        module = MODULE_OF.get(distribution, distribution.replace("-", "_").lower())
        return "version unknown" if _importable(module) else ""


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _pip_install(extra: str) -> str:
    return f"pip install 'cosyserve[{extra}]'" if extra else "pip install --force-reinstall cosyserve"


# Engines


def _needed_folder_problems(engine: str, directory: Path) -> list[Finding]:
    return folder_problems(directory) if engine in NEEDS_MODEL else []


def _engine_problems(engine: str, model_dir: Path) -> list[Finding]:
    if engine not in ESSENTIAL:
        return _custom_engine_problems(engine)
    needed = _requirements().get(engine) or [ESSENTIAL[engine]]
    problems = [
        Finding(State.MISSING, f"the engine {engine} needs the package {name}", _pip_install(engine))
        for name in needed
        if not _installed(name)
    ]
    if engine == "cosyvoice":
        problems += _transformers_problems()
    model = model_in(model_dir)
    if engine == "native" and model is not None and model is not MODELS[0]:
        other = f"set engine to cosyvoice, or model.dir to a {MODELS[0].name} folder"
        problems.append(Finding(State.PROBLEM, f"the engine native runs {MODELS[0].name}, not {model.name}", other))
    return problems


def _transformers_problems() -> list[Finding]:
    version = _installed("transformers")
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < FORGETFUL_TRANSFORMERS:
        return []
    below = ".".join(map(str, FORGETFUL_TRANSFORMERS))
    text = f"with transformers {version} the library's language model forgets the text it speaks"
    return [Finding(State.PROBLEM, text, f"pip install 'transformers<{below}'")]


def _custom_engine_problems(engine: str) -> list[Finding]:
    if unknown := unknown_engine(engine):
        text, _, remedy = unknown.partition(": ")
        return [Finding(State.PROBLEM, text, remedy)]
    module = engine.partition(":")[0]
    package = module.partition(".")[0]
    if _importable(package):
        return []
    remedy = "install it into this environment, or put its folder on PYTHONPATH"
    return [Finding(State.MISSING, f"the engine {engine} needs the package {package or module!r}", remedy)]
