"""Behind `cosyserve check`: will `serve` run on this machine as it is configured, and if not, what is to be done.

No engine is imported here to find out: packages are looked up by name, the model folder and the library by their files,
GPUs by nvidia-smi. Two things are tried in processes of their own: the library is imported and, where there is a GPU,
torch is asked for it.
"""

import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cosyserve import __version__
from cosyserve.check.acceleration import package_version, tensorrt_findings, torch_findings, vllm_lack
from cosyserve.check.compiler import compiler_findings
from cosyserve.check.engines import ESSENTIAL, NEEDS_MODEL, Choice, choose, engine_findings
from cosyserve.check.finding import Finding, State
from cosyserve.check.library_folder import library_findings
from cosyserve.check.library_trial import trial_findings
from cosyserve.check.model_folder import MODELS, OPTIONAL_FILES, file_fault, folder_problems, model_in
from cosyserve.check.nvidia import VISIBLE, NoGpuError, described_gpus, gpu_is_listed
from cosyserve.check.packages import installed, requirements
from cosyserve.check.remedies import install, pip_of_ours
from cosyserve.protocol import DEFAULT_STREAMS
from cosyserve.settings import environment
from cosyserve.settings.loading import Tables, configuration_file, load_settings
from cosyserve.settings.sections import ModelSettings, Settings, SettingsError

BESIDE = {"cosyvoice": ("cosyvoice", "tensorrt")}
"""The extras of an engine, where they are not the one of its name."""

Rehearsal = Callable[[Settings], list[Finding]]
"""Does what `serve` does before it serves, and says what it met."""
Sections = Mapping[str, list[Finding]]


def run(config: Path | None, flags: Tables, rehearse: Rehearsal, *, every_engine: bool = False) -> int:
    """Print the verdict, then what it rests on. Returns 0 where `serve` would run, else 1.

    config, flags: as for `load_settings`. every_engine: look at what the other engines need, too.
    """
    try:
        settings = load_settings(config, flags)
    except SettingsError as error:
        wrong = [Finding(State.PROBLEM, line.strip()) for line in str(error).splitlines()[1:]]
        return _print_report("with this configuration", config, {"Configuration": wrong})
    model = settings.model
    choice = choose(model.engine, model.source_dir, model.device)
    settings = settings.with_engine(choice.engine)
    sections = _sections(settings, choice, every_engine=every_engine)
    if not _stops(sections.get("Packages: front end", [])):
        sections["Server"] = rehearse(settings)
    what = f"with the engine {choice.engine}"
    return _print_report(what, config, sections)


def _print_report(what: str, config: Path | None, sections: Sections) -> int:
    findings = [finding for section in sections.values() for finding in section]
    stops = _stops(findings)
    count = stops or sum(finding.state is State.WARNING for finding in findings)
    counted = f": {count} {'problem' if stops else 'warning'}{'s'[: count != 1]} below" if count else ""
    print(f"cosyserve {'cannot' if stops else 'can'} serve {what}{counted}")
    path = configuration_file(config)
    print(f"configuration: {path.absolute() if path else f'no file, there is no config.toml in {Path.cwd()}'}")
    if pip := pip_of_ours():
        print(f"where it says pip: {pip}")
    print()
    for title, found in sections.items():
        if found:
            _print_section(title, found)
    return 1 if stops else 0


def _stops(findings: Iterable[Finding]) -> int:
    return sum(finding.stops for finding in findings)


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


def _sections(settings: Settings, choice: Choice, *, every_engine: bool) -> dict[str, list[Finding]]:
    engine = choice.engine
    sections = {"Configuration": _configuration(settings), "Engine": _engine(choice)}
    if engine in NEEDS_MODEL or every_engine:
        sections["Model folder"] = _model_folder(settings)
    if engine in NEEDS_MODEL:
        sections["Acceleration"] = _cosyvoice(settings) if engine == "cosyvoice" else _torch(settings.model)
    if engine != "demo" or every_engine:
        sections["GPUs"] = gpus()
    return {**sections, "cosyserve": _program(), **_packages(engine, every_engine=every_engine)}


def _configuration(settings: Settings) -> list[Finding]:
    notes = [Finding(State.WARNING, note) for note in environment.notes(os.environ)]
    cap, count, streams = settings.limits.max_concurrency, settings.workers.count, settings.model.streams
    if settings.model.engine in ESSENTIAL:
        streams = streams or DEFAULT_STREAMS
    if cap and streams and cap < count * streams:
        text = f"limits.max_concurrency = {cap} is less than the {count * streams} streams of {count} workers"
        notes.append(Finding(State.WARNING, text, "0 is as many as the workers have"))
    return notes


def _engine(choice: Choice) -> list[Finding]:
    """Everything in the way of the configured engine, the model folder's own faults aside."""
    engine = choice.engine
    why = Finding(State.OK, f"the engine {engine}{choice.why and f': {choice.why}'}")
    if engine not in ESSENTIAL:
        why = Finding(State.NOTE, f"the engine {engine}, as far as can be seen without importing it")
    return [why, *engine_findings(engine)]


def _program() -> list[Finding]:
    return [
        Finding(State.OK, f"cosyserve {__version__}"),
        Finding(State.OK, f"Python {platform.python_version()} ({sys.executable})"),
    ]


def _packages(engine: str, *, every_engine: bool) -> dict[str, list[Finding]]:
    listed = requirements()
    if not listed:
        text = "cosyserve runs from a folder, not installed: what it needs is not known"
        return {"Packages: front end": [Finding(State.NOTE, text, install())]}
    needed = BESIDE.get(engine, (engine,))
    return {
        f"Packages: {f'extra {extra}' if extra else 'front end'}": [_package(name, extra) for name in names]
        for extra, names in listed.items()
        if not extra or extra in needed or (every_engine and extra != "dev")
    }


def _package(distribution: str, extra: str) -> Finding:
    version = installed(distribution)
    if version:
        return Finding(State.OK, f"{distribution:<20} {version}")
    # What the engine cannot be without is said, and counted, in its own section.
    state = State.NOTE if extra else State.MISSING
    return Finding(state, f"{distribution} is not installed", install(extra))


def gpus(timeout_s: float = 10) -> list[Finding]:
    """One line a GPU, or one that says why none is seen. timeout_s: for nvidia-smi, which can hang with its driver."""
    seen = os.environ.get(VISIBLE)
    limits = [Finding(State.NOTE, f"{VISIBLE}={seen}: workers see no others")] if seen is not None else []
    try:
        found = described_gpus(timeout_s)
    except NoGpuError as error:
        meaning = (
            "on the CPU the engine demo works, native and cosyvoice are slow; if there is a GPU, see to its driver"
        )
        return [Finding(State.NOTE, f"no NVIDIA GPU found: {error}", meaning), *limits]
    return [Finding(State.OK, f"{index}  {told}") for index, told in found.items()] + limits


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
    state = State.NOTE if problems else State.OK
    whole = Finding(state, f"{model.name} in {directory}{', not whole' if problems else ''}")
    return [whole, *problems, *_optional_files(directory)]


def _optional_files(directory: Path) -> list[Finding]:
    return [
        Finding(State.NOTE, f"{name} (optional) {fault}: {meaning}")
        for name, meaning in OPTIONAL_FILES.items()
        if (fault := file_fault(directory / name))
    ]


def _torch(model: ModelSettings) -> list[Finding]:
    gpu = gpu_is_listed()
    kernels = compiler_findings() if gpu and model.device != "cpu" else []
    return [*torch_findings(gpu=gpu, device=model.device), *kernels]


def _cosyvoice(settings: Settings) -> list[Finding]:
    """What the engine `cosyvoice` runs on beside its packages. What stops it here stops it."""
    model, gpu = settings.model, gpu_is_listed() and settings.model.device != "cpu"
    findings = library_findings(model.source_dir, model_in(model.dir))
    if not _stops([*findings, *engine_findings(model.engine)]):
        findings += trial_findings(model.source_dir, model.dir)
    findings += _torch(model)
    findings += tensorrt_findings(model.dir, model.tensorrt, gpu=gpu)
    if model.vllm and (lack := vllm_lack(gpu=gpu, vllm=package_version("vllm"))):
        findings.append(lack)
    return findings
