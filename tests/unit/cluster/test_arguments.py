"""What an operator asks for, on the command line or in YAML."""

from pathlib import Path

import pytest

from cosyserve.cluster.arguments import planned, scale, words
from cosyserve.settings.sections import SettingsError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_settings_are_words() -> None:
    plan = planned(
        words(["engine=demo", "port=50123", "limits.max_waiting=3", 'server.api_keys=["a", "b"]', "gpus=.5"])
    )

    assert plan.settings.model.engine == "demo"
    assert plan.settings.server.port == 50123
    assert plan.settings.limits.max_waiting == 3
    assert plan.settings.server.api_keys == ("a", "b")
    assert plan.extent.gpus == 0.5


def test_yaml_may_have_sections() -> None:
    args = {"engine": "demo", "model": {"streams": 4}, "replicas": {"min_replicas": 1, "max_replicas": 9}, "fronts": 2}

    plan = planned(args)

    assert (plan.settings.model.streams, plan.settings.model.engine) == (4, "demo")
    assert scale(plan.extent.replicas) == {"min_replicas": 1, "max_replicas": 9}


def test_the_environment_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node has another one."""
    monkeypatch.setenv("COSYSERVE_LIMITS__MAX_WAITING", "7")
    plan = planned({"engine": "demo"})
    monkeypatch.delenv("COSYSERVE_LIMITS__MAX_WAITING")

    assert plan.source.read().limits.max_waiting == 7


def test_a_file_is_read_again(tmp_path: Path) -> None:
    config = tmp_path / "its.toml"
    config.write_text("[model]\nengine = 'demo'\n")
    plan = planned({"config": "its.toml", "port": "50123"})
    config.write_text("[limits]\nmax_waiting = 5\n")

    again = plan.source.read_again(plan.settings)

    assert (again.limits.max_waiting, again.server.port) == (5, 50123)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["engine"], "'engine' is no argument"),
        (["speed=3"], "'speed' is no argument: one of engine=, port="),
        (["model.enigne=demo"], "'model.enigne' is no argument"),
        (["engine=demo", "port=many"], "server.port = 'many'"),
        (["engine=dmo"], "dmo"),
        (["engine=demo", "replicas=1-3"], "replicas = '1-3': it is a number, or two as in 1:3"),
        (["engine=demo", "fronts=0"], "fronts = '0'"),
        (["engine=demo", "server.api_keys=one"], "server.api_keys is a list"),
        (["config=nowhere.toml"], "there is no such file"),
    ],
)
def test_what_is_wrong_is_told(arguments: list[str], told: str) -> None:
    with pytest.raises(SettingsError) as error:
        planned(words(arguments))

    assert told in str(error.value)
