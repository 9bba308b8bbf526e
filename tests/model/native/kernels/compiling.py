"""Triton kernels without a card: compiled for some, with what comes with Triton, and run in its interpreter."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tests.model.conftest import ROOT

CARDS = [80, *(pytest.param(card, marks=pytest.mark.full) for card in (86, 89, 90, 100, 120))]
"""Compute capabilities, to parametrize a test by."""
TYPES = ("fp16", "bf16", "fp32")
SHARED = 99 * 1024
"""Bytes that a program may share on the card that has the fewest, sm_86."""
_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class Compiled(NamedTuple):
    """stack: bytes of it, which are registers that were spilled. shared: bytes. copies: asynchronous ones."""

    stack: int
    shared: int
    copies: int


def differences(program: str, check: str, seeds: Iterable[int]) -> list[float]:
    """Of a kernel and its twin, in one random case for each seed. program: which of those beside this file."""
    command = [sys.executable, "-m", f"tests.model.native.kernels.{program}", check, *map(str, seeds)]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)
    assert len(found) == len(command) - 4
    return found


def compile_for(card: int, kernel: Any, types: Mapping[str, str], constants: Mapping[str, Any], warps: int) -> Compiled:
    """As the launcher would. types: of the arguments that are not constant; pointers are aligned, as PyTorch's are."""
    names = kernel.arg_names
    signature = {name: types.get(name, "constexpr") for name in names}
    aligned = {(place,): [["tt.divisibility", 16]] for place, name in enumerate(names) if signature[name][0] == "*"}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()}, aligned)
    made = triton.compile(source, target=GPUTarget("cuda", card, 32), options={"num_warps": warps})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        told = subprocess.run(
            [_TOOLS / "cuobjdump", "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    stack = next(word.removeprefix("STACK:") for word in told.split() if word.startswith("STACK:"))
    return Compiled(int(stack), made.metadata.shared, made.asm["ptx"].count("cp.async.commit_group"))
