"""The CosyVoice library, told by its files: where it is, of which generation, and what it lacks. It is not imported."""

import ast
import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cosyserve.check.finding import Finding, State
from cosyserve.check.model_folder import MODELS, Model

LIBRARY_URL = "https://github.com/FunAudioLLM/CosyVoice"


@dataclass(frozen=True, slots=True)
class Generation:
    """What tells the library's generations apart: how it takes a prompt, which models it knows, whether it streams.

    prompt: `path`, `tensor`, or empty where its source is not one that we know.
    """

    prompt: str
    models: frozenset[str]
    streams: bool

    @classmethod
    def of(cls, package: Path) -> "Generation":
        """Read it from the source in `package`, the folder `cosyvoice`."""
        taken = _parameters(package / "cli" / "frontend.py", "frontend_zero_shot")
        prompt = "path" if "prompt_wav" in taken else "tensor" if "prompt_speech_16k" in taken else ""
        named = _classes(package / "cli" / "cosyvoice.py")
        models = frozenset(model.name for model in MODELS if model.name in named)
        streams = {"streaming", "finalize"} <= _parameters(package / "flow" / "flow.py", "inference")
        return cls(prompt, models, streams)


def package_folder(source_dir: Path | None) -> Path | None:
    """The folder of the package `cosyvoice`, in the checkout `source_dir` or on the import path."""
    folders = folders_of("cosyvoice") if source_dir is None else [source_dir / "cosyvoice"]
    return next((folder for folder in folders if (folder / "cli" / "cosyvoice.py").is_file()), None)


def library_problems(source_dir: Path | None) -> list[Finding]:
    """Why it would not be found. It has no package on PyPI: the project named cosyvoice there is another's."""
    if source_dir is None:
        if package_folder(None):
            return []
        clone = f"git clone --recursive {LIBRARY_URL}, then set model.source_dir to its folder"
        return [Finding(State.MISSING, "the CosyVoice library is not importable", clone)]
    if not package_folder(source_dir):
        clone = f"git clone --recursive {LIBRARY_URL} {shlex.quote(str(source_dir))}"
        return [Finding(State.MISSING, f"model.source_dir {source_dir} holds no CosyVoice library", clone)]
    matcha = (source_dir / "third_party" / "Matcha-TTS" / "matcha", source_dir / "matcha", *folders_of("matcha"))
    if not any(folder.is_dir() for folder in matcha):
        fetch = f"git -C {shlex.quote(str(source_dir))} submodule update --init --recursive"
        return [Finding(State.MISSING, f"{source_dir} lacks its submodule Matcha-TTS", fetch)]
    return []


def library_findings(source_dir: Path | None, model: Model | None) -> list[Finding]:
    """Where it is and of which generation, or why it will not do. model: what it is to run, where that is known."""
    problems = library_problems(source_dir)
    package = package_folder(source_dir)
    if problems or package is None:
        return problems
    generation = Generation.of(package)
    known = " and ".join(sorted(generation.models)) or "no model that cosyserve knows"
    where = f"the CosyVoice library in {package.parent}"
    newer = update(package.parent)
    if not (generation.prompt and generation.streams):
        return [Finding(State.PROBLEM, f"{where} is of a generation that cosyserve does not know", newer)]
    if model and model.name not in generation.models:
        return [Finding(State.PROBLEM, f"{where} does not know {model.name}, only {known}", newer)]
    return [Finding(State.OK, f"{where}: {known}, prompts by {generation.prompt}")]


def update(folder: Path) -> str:
    """How to get a newer one."""
    return f"git -C {shlex.quote(str(folder))} pull --recurse-submodules, or a fresh clone of {LIBRARY_URL}"


def folders_of(package: str) -> list[Path]:
    """Where it would be imported from."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _parameters(file: Path, function: str) -> set[str]:
    """Of every function of that name in a source file."""
    return {
        argument.arg
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.FunctionDef) and node.name == function
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    }


def _classes(file: Path) -> set[str]:
    return {node.name for node in ast.walk(_parsed(file)) if isinstance(node, ast.ClassDef)}


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ast.Module([], [])
