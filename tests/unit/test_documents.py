"""What the documents tell people to type, where it cannot be run here: it is held against what reads it."""

import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cosyserve.cli import _parser
from cosyserve.settings.loading import load_settings
from tests.serving import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "docker/*.md", "deploy/*.md", "deploy/*/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Every such block, and where it is."""
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for block in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield block[1], f"{document}:{text.count(chr(10), 0, block.start()) + 1}"


def commands(program: str) -> Iterator[tuple[list[str], str]]:
    """Every call of a program in the blocks of shell, as words, up to what the shell does with it."""
    for block, place in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for index, word in enumerate(words):
                if Path(word).name == program and (index == 0 or words[index - 1] in {"&&", "|", "exec"}):
                    call = words[index + 1 :]
                    ends = [at for at, word in enumerate(call) if word in {"&&", "|", "&", ";", ">"}]
                    yield call[: min(ends, default=len(call))], place


@pytest.mark.parametrize(("block", "place"), [pytest.param(*found, id=found[1]) for found in blocks("bash")])
def test_shell_is_shell(block: str, place: str) -> None:
    read = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
    assert read.returncode == 0, f"{place}: {read.stderr}"


def test_settings_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(blocks("toml"))
    assert len(found) >= 3
    for number, (block, place) in enumerate(found):
        file = tmp_path / f"{number}.toml"
        file.write_text(block, encoding="utf-8")
        try:
            load_settings(file, {})
        except Exception as error:
            pytest.fail(f"{place}: {error}")


def test_our_own_commands_have_those_flags() -> None:
    found = [(call, place) for call, place in commands("cosyserve") if call]
    assert len(found) > 5
    for call, place in found:
        try:
            _parser().parse_args(call)
        except SystemExit as end:
            if end.code:
                pytest.fail(f"{place}: cosyserve {shlex.join(call)}")


def test_make_has_those_targets() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for call, place in commands("make"):
        wanted = [word for word in call if re.fullmatch(r"[a-z-]+", word)]
        assert set(wanted) <= set(targets), f"{place}: make {shlex.join(call)}"


def test_docker_is_given_files_and_profiles_that_are_there() -> None:
    found = list(commands("docker"))
    assert found
    for call, place in found:
        given = dict(itertools.pairwise(call))
        file = given.get("-f")
        if file is None:
            continue
        assert (ROOT / file).is_file(), place
        if call[0] == "compose":
            services = yaml.safe_load((ROOT / file).read_text())["services"].values()
            profiles = {profile for service in services for profile in service.get("profiles", [])}
            assert given.get("--profile") in {None, *profiles}, place
