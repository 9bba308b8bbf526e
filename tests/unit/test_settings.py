"""Settings: sources and their order, names, values, paths."""

import os
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosyserve.cli import _overrides, _parser
from cosyserve.settings.environment import notes
from cosyserve.settings.loading import load_settings
from cosyserve.settings.sections import DEFAULT_INSTRUCTION, MIB, PACKAGED, Settings, SettingsError
from cosyserve.voices.prompts import Decoder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings in the environment."""
    for name in os.environ:
        if name.startswith("COSYSERVE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(config: Path | None = None, overrides: dict[str, dict[str, Any]] | None = None) -> list[str]:
    """The line that names the file, then what is wrong."""
    with pytest.raises(SettingsError) as error:
        load_settings(config, overrides)
    return str(error.value).split("\n  ")


def problem(config: Path | None = None, overrides: dict[str, dict[str, Any]] | None = None) -> str:
    heading, line = problems(config, overrides)
    assert heading.startswith("the configuration is wrong (")
    return line


class TestOrder:
    def test_built_in(self) -> None:
        settings = load_settings()
        assert (settings.server.host, settings.server.port) == ("127.0.0.1", 50000)
        assert settings.defaults.instruction == DEFAULT_INSTRUCTION

    def test_flags_over_environment_over_file_over_built_in(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder, "[server]\nport = 1\n[limits]\nmax_waiting = 1\n[workers]\ncount = 1\n")
        monkeypatch.setenv("COSYSERVE_SERVER__PORT", "2")
        monkeypatch.setenv("COSYSERVE_LIMITS__MAX_WAITING", "2")
        settings = load_settings(None, {"server": {"port": 3}})
        assert (settings.server.port, settings.limits.max_waiting, settings.workers.count) == (3, 2, 1)
        assert settings.limits.max_concurrency == 0

    def test_a_section_in_one_source_leaves_the_others_keys_alone(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder, '[server]\nhost = "::1"\n')
        monkeypatch.setenv("COSYSERVE_SERVER__SHUTDOWN_GRACE_S", "7.5")
        settings = load_settings(None, {"server": {"port": 3}})
        assert (settings.server.host, settings.server.shutdown_grace_s, settings.server.port) == ("::1", 7.5, 3)

    def test_lists_in_the_environment_are_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COSYSERVE_SERVER__API_KEYS", '["one", "two"]')
        assert load_settings().server.api_keys == ("one", "two")

    def test_the_environment_knows_no_case(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COSYSERVE_server__Port", "5")
        assert load_settings().server.port == 5

    def test_other_variables_are_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SERVER__PORT", "5")
        monkeypatch.setenv("MY_COSYSERVE_HOME", "/opt")
        assert load_settings().server.port == 50000

    @pytest.mark.parametrize("service", ["COSYSERVE", "COSYSERVE_VOICES", "COSYSERVE_SERVER"])
    def test_what_kubernetes_says_of_services_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, service: str
    ) -> None:
        address = "tcp://10.0.0.11:50000"
        told = {
            "SERVICE_HOST": "10.0.0.11",
            "SERVICE_PORT": "50000",
            "SERVICE_PORT_HTTP": "50000",
            "PORT": address,
            "PORT_50000_TCP": address,
            "PORT_50000_TCP_PROTO": "tcp",
            "PORT_50000_TCP_PORT": "50000",
            "PORT_50000_TCP_ADDR": "10.0.0.11",
        }
        for name, value in told.items():
            monkeypatch.setenv(f"{service}_{name}", value)
        assert load_settings().server.port == 50000

    def test_the_clients_address_is_left_alone_and_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert list(notes(os.environ)) == []
        monkeypatch.setenv("COSYSERVE_URL", "http://voices:50000")
        assert load_settings().server.port == 50000
        (note,) = notes(os.environ)
        assert note.startswith("COSYSERVE_URL is read by the client alone")

    def test_the_clients_key_leaves_no_server_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COSYSERVE_API_KEY", "secret")
        message = problem()
        assert "COSYSERVE_API_KEY is the client's" in message
        assert "COSYSERVE_SERVER__API_KEYS=" in message
        assert "secret" not in message
        monkeypatch.setenv("COSYSERVE_SERVER__API_KEYS", '["secret"]')
        assert load_settings().server.api_keys == ("secret",)
        assert "COSYSERVE_API_KEY is read by the client alone" in next(iter(notes(os.environ)))

    def test_a_file_elsewhere(self, folder: Path) -> None:
        write(folder, "[server]\nport = 1\n")
        (folder / "etc").mkdir()
        assert load_settings(write(folder / "etc", "[server]\nport = 2\n", "other.toml")).server.port == 2

    def test_flags(self, folder: Path) -> None:
        line = "serve --host :: --port 0 --engine demo --workers 3 --model-dir weights --log-level debug"
        args = _parser().parse_args(shlex.split(line))
        settings = load_settings(args.config, _overrides(args))
        assert (settings.server.host, settings.server.port) == ("::", 0)
        assert (settings.model.engine, settings.model.dir) == ("demo", folder / "weights")
        assert (settings.workers.count, settings.log.level) == (3, "debug")

    def test_flags_not_given_change_nothing(self, folder: Path) -> None:
        write(folder, "[server]\nport = 7\n")
        args = _parser().parse_args(["serve"])
        assert load_settings(args.config, _overrides(args)) == load_settings()


class TestNames:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("[server]\nprot = 1", "server.prot is not a setting: did you mean server.port?"),
            ("[limits]\nmax_concurency = 1", "did you mean limits.max_concurrency?"),
            ("[server]\nmax_concurrency = 1", "did you mean limits.max_concurrency?"),
            ("[servers]\nport = 1", "did you mean server?"),
            ("[log]\nxyzzyxyzzyxyzzy = 1", "the sections are [server], [limits]"),
            ("[zzzz]\nx = 1", "the sections are [server], [limits]"),
            ("[zzzz]", "[zzzz] is not a setting"),
            ("port = 1", "'port' stands outside a section"),
        ],
    )
    def test_in_the_file(self, folder: Path, text: str, says: str) -> None:
        path = write(folder, text)
        heading, line = problems()
        assert says in line
        assert str(path) in heading

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("COSYSERVE_SERVER__PROT", "did you mean COSYSERVE_SERVER__PORT?"),
            ("COSYSERVE_SEVER__PORT", "did you mean COSYSERVE_SERVER__PORT?"),
            ("COSYSERVE_WORKERS__STREAMS", "did you mean COSYSERVE_MODEL__STREAMS?"),
            ("COSYSERVE_API_KEYS", "did you mean COSYSERVE_SERVER__API_KEYS?"),
            ("COSYSERVE_APIKEYS", "did you mean COSYSERVE_SERVER__API_KEYS?"),
            ("COSYSERVE_SERVER_API_KEYS", "did you mean COSYSERVE_SERVER__API_KEYS?"),
            ("cosyserve_server___port", "did you mean COSYSERVE_SERVER__PORT?"),
            ("COSYSERVE_PORT", "did you mean COSYSERVE_SERVER__PORT?"),
            ("COSYSERVE_SERVER_PORT", "did you mean COSYSERVE_SERVER__PORT?"),
            ("COSYSERVE_MODEL_DIR", "did you mean COSYSERVE_MODEL__DIR?"),
            ("COSYSERVE_ENGINE", "did you mean COSYSERVE_MODEL__ENGINE?"),
            ("COSYSERVE_LOG_LEVEL", "did you mean COSYSERVE_LOG__LEVEL?"),
            ("COSYSERVE_SERVER", "write COSYSERVE_SERVER__KEY"),
            ("COSYSERVE_XYZZYXYZZY", "the sections are [server], [limits]"),
            ("COSYSERVE_", "the sections are [server], [limits]"),
        ],
    )
    def test_in_the_environment(self, monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
        monkeypatch.setenv(name, "1")
        message = problem()
        assert says in message
        assert message.startswith(name)

    @given(st.text(st.characters(categories=["L", "N"]), min_size=1), st.text())
    def test_any_unknown_name_is_an_error(self, section: str, key: str) -> None:
        if section in Settings.model_fields:
            return
        with pytest.raises(SettingsError):
            load_settings(None, {section: {key: 1}})


class TestValues:
    @pytest.mark.parametrize(
        ("overrides", "says"),
        [
            ({"server": {"port": 65536}}, "server.port = 65536: "),
            ({"server": {"port": "http"}}, "server.port = 'http': "),
            ({"server": {"max_upload_bytes": "16 parsecs"}}, "server.max_upload_bytes"),
            ({"server": {"max_upload_bytes": 0}}, "server.max_upload_bytes"),
            ({"server": {"api_keys": [" "]}}, "a key must be non-empty ASCII"),
            ({"server": {"api_keys": ["ключ"]}}, "a key must be non-empty ASCII"),
            ({"server": {"shutdown_grace_s": -1}}, "server.shutdown_grace_s = -1: "),
            ({"server": {"client_stall_timeout_s": 0}}, "server.client_stall_timeout_s"),
            ({"limits": {"max_concurrency": -1}}, "limits.max_concurrency"),
            ({"limits": {"wait_timeout_s": "soon"}}, "limits.wait_timeout_s"),
            ({"workers": {"count": 0}}, "workers.count"),
            ({"model": {"tensorrt": "maybe"}}, "model.tensorrt = 'maybe': "),
            ({"voices": {"url": "https://voices"}}, "voices.url = 'https://voices': it must be s3://bucket"),
            ({"log": {"level": "loud"}}, "log.level = 'loud': "),
        ],
    )
    def test_refused(self, overrides: dict[str, dict[str, Any]], says: str) -> None:
        assert says in problem(None, overrides)

    @pytest.mark.parametrize(
        ("section", "key", "value", "expected"),
        [
            ("server", "max_upload_bytes", "2MiB", 2 * MIB),
            ("server", "max_upload_bytes", "2MB", 2_000_000),
            ("server", "max_upload_bytes", 5, 5),
            ("server", "port", "0", 0),
            ("workers", "devices", [0, "GPU-abc"], ("0", "GPU-abc")),
            ("model", "tensorrt", True, "true"),
            ("model", "tensorrt", "false", "false"),
            ("model", "source_dir", "", None),
            ("defaults", "prompt_wav", "", None),
            ("voices", "url", "s3://my.voices-1/kept/here", "s3://my.voices-1/kept/here"),
        ],
    )
    def test_accepted(self, section: str, key: str, value: object, expected: object) -> None:
        settings = load_settings(None, {section: {key: value}})
        assert getattr(getattr(settings, section), key) == expected

    @pytest.mark.parametrize("value", ["one,two", "", "{}", "1"])
    def test_a_list_in_the_environment_that_is_none(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("COSYSERVE_WORKERS__DEVICES", value)
        assert problem().startswith("COSYSERVE_WORKERS__DEVICES is a list, written as JSON: ")

    def test_a_value_of_the_environment_is_called_as_it_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COSYSERVE_LIMITS__MAX_WAITING", "many")
        assert problem().startswith("COSYSERVE_LIMITS__MAX_WAITING = 'many': ")
        assert problem(None, {"limits": {"max_waiting": "few"}}).startswith("limits.max_waiting = 'few': ")

    def test_all_that_is_wrong_is_told_at_once(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = '[server]\nprot = 1\nport = 70000\napi_keys = ["ключ"]\n[limit]\nx = 1\n[model]\ntensorrt = "maybe"\n'
        path = write(folder, text)
        monkeypatch.setenv("COSYSERVE_PORT", "5")
        monkeypatch.setenv("COSYSERVE_VOICES__PRELOAD", "anna")
        heading, *lines = problems()
        assert heading == f"the configuration is wrong ({path}):"
        assert sorted(line.split()[0].rstrip(":") for line in lines) == [
            "COSYSERVE_PORT",
            "COSYSERVE_VOICES__PRELOAD",
            "limit.x",
            "model.tensorrt",
            "server.api_keys",
            "server.port",
            "server.prot",
        ]
        assert "ключ" not in "".join(lines)

    def test_settings_do_not_change(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load_settings().server.port = 1  # type: ignore[misc]


class TestFiles:
    def test_not_there(self, folder: Path) -> None:
        assert "no such file" in problem(folder / "nowhere.toml")

    def test_a_folder(self, folder: Path) -> None:
        assert "cannot be read" in problem(folder)

    @pytest.mark.parametrize("text", ["[server", "port 1", "[server]\nport = 1\nport = 2"])
    def test_not_toml(self, folder: Path, text: str) -> None:
        write(folder, text)
        assert "not valid TOML" in problem()

    def test_not_utf_8(self, folder: Path) -> None:
        (folder / "config.toml").write_bytes(b'[server]\nhost = "\xff"\n')
        assert "cannot be read" in problem()

    def test_a_byte_order_mark_is_passed_over(self, folder: Path) -> None:
        (folder / "config.toml").write_bytes(b"\xef\xbb\xbf[server]\nport = 7\n")
        assert load_settings().server.port == 7

    def test_where_there_is_none_the_message_says_so(self, folder: Path) -> None:
        heading, _ = problems(None, {"server": {"port": -1}})
        assert f"no config.toml in {folder}" in heading

    def test_relative_paths_count_from_the_file(self, folder: Path) -> None:
        (folder / "etc").mkdir()
        text = '[model]\ndir = "weights"\nsource_dir = "../library"\n[defaults]\nprompt_wav = "voice.wav"\n'
        settings = load_settings(write(folder / "etc", text))
        assert settings.model.dir == folder / "etc" / "weights"
        assert settings.model.source_dir == folder / "etc" / ".." / "library"
        assert settings.defaults.prompt_wav == folder / "etc" / "voice.wav"

    def test_also_where_the_file_was_named_relatively(self, folder: Path) -> None:
        write(folder, '[model]\ndir = "weights"\n', "other.toml")
        assert load_settings(Path("other.toml")).model.dir == folder / "weights"

    def test_absolute_and_home_paths(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/somebody")
        write(folder, '[model]\ndir = "/weights"\nsource_dir = "~/library"\n')
        settings = load_settings()
        assert (settings.model.dir, settings.model.source_dir) == (Path("/weights"), Path("/home/somebody/library"))

    def test_without_a_file_paths_count_from_here(self, folder: Path) -> None:
        assert load_settings().model.dir == folder / "pretrained_models/CosyVoice2-0.5B"


class TestShipped:
    def test_the_shipped_file_has_every_key_with_its_default(self) -> None:
        shipped = tomllib.loads((PACKAGED / "config.toml").read_text(encoding="utf-8"))
        assert {section: set(table) for section, table in shipped.items()} == {
            section: set(type(getattr(Settings(), section)).model_fields) for section in Settings.model_fields
        }
        assert Settings.model_validate(shipped) == Settings()

    def test_every_key_in_it_has_a_comment(self) -> None:
        lines = (PACKAGED / "config.toml").read_text(encoding="utf-8").splitlines()
        bare = [line for line in lines if "=" in line and not line.startswith("#") and "#" not in line]
        assert [line.partition(" ")[0] for line in bare] == ["dir", "instruction"]

    def test_the_shipped_voice_is_found_far_from_the_checkout(self, decoder: Decoder) -> None:
        settings = load_settings()
        assert settings.defaults.prompt_wav == PACKAGED / "asset/zero_shot_prompt.wav"
        assert decoder.load_default(settings.defaults.prompt_wav) is not None

    def test_a_voice_beside_the_file_comes_first(self, folder: Path) -> None:
        (folder / "asset").mkdir()
        (folder / "asset/zero_shot_prompt.wav").write_bytes(b"mine")
        assert load_settings().defaults.prompt_wav == folder / "asset/zero_shot_prompt.wav"
