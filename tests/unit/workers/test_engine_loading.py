"""From an engine's name in the settings to the engine, or to one line that says what is wrong."""

from pathlib import Path

import pytest

from cosyserve.check.remedies import install
from cosyserve.protocol import EngineConfig
from cosyserve_workers.engine import BUILT_IN, LoadError, load_engine


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Write":
    monkeypatch.syspath_prepend(tmp_path)
    return Write(tmp_path)


class Write:
    """Puts modules where they can be imported, under names that only one test uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, source: str) -> None:
        (self._folder / f"{name}.py").write_text(source)


def failure(engine: str) -> str:
    with pytest.raises(LoadError) as caught:
        load_engine(EngineConfig(engine, "weights"))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_factory_of_one_s_own_is_given_the_settings(write: Write) -> None:
    write("engine_of_ones_own", "def create(config):\n    return config.engine, config.model_dir, config.precision\n")
    config = EngineConfig("engine_of_ones_own:create", "weights", precision="fp16")
    assert load_engine(config) == ("engine_of_ones_own:create", "weights", "fp16")  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("engine", ["demmo", "", "package.module", ":factory", "package.module:", ":"])
def test_a_name_that_is_none_lists_those_that_are(engine: str) -> None:
    message = failure(engine)
    assert repr(engine) in message
    assert all(name in message for name in BUILT_IN)
    assert "package.module:factory" in message


def test_a_module_that_is_not_there() -> None:
    assert failure("no_such_package.engine:create") == (
        "engine 'no_such_package.engine:create' cannot be imported: no module named 'no_such_package'"
    )


def test_a_module_whose_own_import_is_not_there(write: Write) -> None:
    write("engine_with_a_gap", "import no_such_dependency\n")
    assert "no module named 'no_such_dependency'" in failure("engine_with_a_gap:create")


def test_a_factory_that_is_not_there(write: Write) -> None:
    write("engine_without_a_factory", "")
    assert failure("engine_without_a_factory:create") == (
        "engine 'engine_without_a_factory:create': module engine_without_a_factory has no 'create'"
    )


def test_a_built_in_engine_whose_packages_are_not_installed(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("engine_with_an_extra", "import no_such_dependency\n")
    monkeypatch.setitem(BUILT_IN, "fancy", "engine_with_an_extra:create")
    assert failure("fancy") == f"engine 'fancy' needs the package 'no_such_dependency': {install('fancy')}"


@pytest.mark.parametrize(
    "error", ["ImportError('libcudart.so.13:\\nno such file')", "OSError('libcudart.so.13: no such file')"]
)
def test_a_built_in_engine_whose_packages_are_broken(write: Write, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    name = f"engine_without_a_library_{len(error)}"
    write(name, f"raise {error}\n")
    monkeypatch.setitem(BUILT_IN, "fancy", f"{name}:create")
    assert failure("fancy") == (
        f"engine 'fancy' cannot be imported (libcudart.so.13: no such file): {install('fancy', '--force-reinstall')}"
    )


def test_what_a_factory_says_is_missing_is_passed_on(write: Write) -> None:
    write(
        "engine_without_weights",
        "from cosyserve_workers.engine import LoadError\n"
        "def create(config):\n"
        "    raise LoadError(f'{config.model_dir} is empty: get the weights')\n",
    )
    assert failure("engine_without_weights:create") == "weights is empty: get the weights"


@pytest.mark.parametrize("where", ["None.bug\n", "def create(config):\n    None.bug\n"])
def test_a_bug_is_not_taken_for_a_mistake_in_the_settings(where: str, write: Write) -> None:
    name = f"engine_with_a_bug_{len(where)}"
    write(name, where)
    with pytest.raises(AttributeError, match="bug"):
        load_engine(EngineConfig(f"{name}:create", ""))
