"""What an engine needs, and which one `auto` is: told without importing any."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cosyserve.check.acceleration import package_version
from cosyserve.check.finding import Finding, State
from cosyserve.check.library_folder import library_problems as _library_problems
from cosyserve.check.library_folder import package_folder
from cosyserve.check.model_folder import folder_problems
from cosyserve.check.nvidia import gpu_is_listed
from cosyserve.check.packages import importable, installed, requirements
from cosyserve.check.remedies import install

AUTO = "auto"
NEEDS_MODEL = frozenset({"cosyvoice", "native"})
"""The engines that load a CosyVoice model folder."""

# What an engine cannot be without; asked for where the installed package does not list its extras (a bare checkout).
ESSENTIAL = {"native": "torch", "cosyvoice": "torch", "demo": "espeakng-loader"}

FORGETFUL_TRANSFORMERS = (4, 53)
"""From here on the library's one-step mask hides from its language model all but the first position, in silence."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, and why it is that one: empty where it was named."""

    engine: str
    why: str = ""


def choose(engine: str, source_dir: Path | None, device: str) -> Choice:
    """The engine that `auto` is on this machine; another one is itself. device: model.device."""
    if engine != AUTO:
        return Choice(engine)
    lacks = {
        "the CosyVoice library is not there": package_folder(source_dir) is None,
        "TensorRT is not installed": package_version("tensorrt") is None,
        "there is no GPU": device == "cpu" or not gpu_is_listed(),
    }
    lacking = [lack for lack, is_lacking in lacks.items() if is_lacking]
    if lacking:
        return Choice("native", f"model.engine is auto, and {', '.join(lacking)}")
    return Choice("cosyvoice", "model.engine is auto, and the CosyVoice library, TensorRT and a GPU are there")


def model_folder_problems(directory: Path) -> list[str]:
    """Why `directory` is not a whole CosyVoice2 or CosyVoice3 model: each a line with its remedy. Empty if it is."""
    return _as_lines(folder_problems(directory))


def unknown_engine(engine: str) -> str:
    """Why `engine` is no name of an engine; empty if it is one."""
    if engine in ESSENTIAL or engine == AUTO or all(engine.partition(":")):
        return ""
    known = f"use {AUTO}, one of {', '.join(ESSENTIAL)}, or package.module:factory for your own"
    return f"the engine {engine} is not known: {known}"


def engine_problems(engine: str, model_dir: Path) -> list[str]:
    """Why `engine` cannot start, the model folder that it needs included: each a line with its remedy."""
    return _as_lines([*engine_findings(engine), *needed_folder_findings(engine, model_dir)])


def library_problems(source_dir: Path | None) -> list[str]:
    """Why the engine `cosyvoice` would not find its library, in `source_dir` or on the import path."""
    return _as_lines(_library_problems(source_dir))


def _as_lines(findings: Iterable[Finding]) -> list[str]:
    return [f"{finding.text}: {finding.remedy}" for finding in findings]


def needed_folder_findings(engine: str, directory: Path) -> list[Finding]:
    """What its model folder lacks, where it needs one."""
    return folder_problems(directory) if engine in NEEDS_MODEL else []


def engine_findings(engine: str) -> list[Finding]:
    """What is in its way, the model folder's own faults aside."""
    if engine not in ESSENTIAL:
        return _custom_engine_problems(engine)
    needed = requirements().get(engine) or [ESSENTIAL[engine]]
    problems = [
        Finding(State.MISSING, f"the engine {engine} needs the package {name}", install(engine))
        for name in needed
        if not installed(name)
    ]
    if engine == "cosyvoice":
        problems += _transformers_problems()
    return problems


def _transformers_problems() -> list[Finding]:
    version = installed("transformers")
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
    if importable(package):
        return []
    remedy = "install it into this environment, or put its folder on PYTHONPATH"
    return [Finding(State.MISSING, f"the engine {engine} needs the package {package or module!r}", remedy)]
