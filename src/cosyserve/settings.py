"""Settings: built-in defaults, then config.toml, then COSYSERVE_<SECTION>__<KEY>, then flags; the later wins."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as SourceError

CONFIG_NAME = "config.toml"
ENV_PREFIX = "COSYSERVE_"
PACKAGED = Path(__file__).parent / "packaged"
"""The shipped config.toml and asset/, so that an installed wheel works without a checkout."""

DEFAULT_PROMPT = Path("asset/zero_shot_prompt.wav")
DEFAULT_INSTRUCTION = "你是一位热情友好的餐馆店员,说话温柔亲切,语气礼貌专业。<|endofprompt|>"
MIB = 1024 * 1024


class SettingsError(Exception):
    """The settings cannot be used; the message is one line that says which and what to do."""


class Section(BaseModel):
    """One table of config.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ServerSettings(Section):
    """[server]: the socket and what one client may ask of it."""

    host: str = "127.0.0.1"
    port: int = Field(50000, ge=0, le=65535)
    api_keys: tuple[str, ...] = ()
    api_keys_file: Path | None = None
    cors_origins: tuple[str, ...] = ()
    max_upload_bytes: ByteSize = Field(ByteSize(16 * MIB), gt=0)
    shutdown_grace_s: float = Field(30, ge=0)
    max_buffered_bytes: ByteSize = Field(ByteSize(256 * MIB), gt=0)
    client_stall_timeout_s: float = Field(30, gt=0)
    max_connections: int = Field(1024, ge=1)
    keep_alive_s: float = Field(75, gt=0)
    body_timeout_s: float = Field(60, gt=0)

    @field_validator("api_keys_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("api_keys")
    @classmethod
    def _no_empty_key(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not all(key.strip() and key.isascii() for key in keys):
            raise ValueError("a key must be non-empty ASCII")
        return keys


class LimitSettings(Section):
    """[limits]: how much runs and waits at once, and for how long."""

    max_concurrency: int = Field(10, ge=1)
    max_concurrency_per_key: int = Field(0, ge=0)
    max_waiting: int = Field(100, ge=0)
    max_pending_bytes: ByteSize = Field(ByteSize(320 * MIB), gt=0)
    max_pending_bytes_per_key: ByteSize = Field(ByteSize(0), ge=0)
    wait_timeout_s: float = Field(30, gt=0)
    max_text_chars: int = Field(5000, ge=1)
    first_chunk_timeout_s: float = Field(60, gt=0)
    next_chunk_timeout_s: float = Field(60, gt=0)


class WorkerSettings(Section):
    """[workers]: the pool of worker processes."""

    count: int = Field(1, ge=1)
    devices: tuple[str, ...] = ()
    start_timeout_s: float = Field(900, gt=0)
    stall_timeout_s: float = Field(60, gt=0)

    @field_validator("devices", mode="before")
    @classmethod
    def _as_strings(cls, devices: object) -> object:
        return tuple(map(str, devices)) if isinstance(devices, list | tuple) else devices


class ModelSettings(Section):
    """[model]: the engine and what it loads. Engines give the fields their meaning."""

    engine: str = "cosyvoice"
    dir: Path = Path("pretrained_models/CosyVoice2-0.5B")
    source_dir: Path | None = None
    precision: str = "auto"
    tensorrt: Literal["auto", "true", "false"] = "auto"
    vllm: bool = False
    streams: int = Field(0, ge=0)
    state_budget_gib: float = Field(0, ge=0)

    @field_validator("tensorrt", mode="before")
    @classmethod
    def _boolean_as_word(cls, value: object) -> object:
        return str(value).lower() if isinstance(value, bool) else value

    @field_validator("source_dir", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None


class DefaultSettings(Section):
    """[defaults]: what a request gets that does not say."""

    instruction: str = DEFAULT_INSTRUCTION
    prompt_wav: Path | None = DEFAULT_PROMPT
    prompt_text: str = ""

    @field_validator("prompt_wav", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None


class VoiceSettings(Section):
    """[voices]: the voices that clients store. The sizes are in bytes."""

    dir: Path = Path("voices")
    max_count: int = Field(1000, ge=0)
    max_bytes: ByteSize = Field(ByteSize(10 * MIB), gt=0)
    max_cached_bytes: ByteSize = Field(ByteSize(256 * MIB), ge=0)
    preload: tuple[str, ...] = ()


class WebSocketSettings(Section):
    """[websocket]: sessions on /v1/audio/speech/stream."""

    max_connections: int = Field(100, ge=0)
    idle_timeout_s: float = Field(60, gt=0)
    max_message_bytes: ByteSize = Field(ByteSize(64 * 1024), gt=0)


class LogSettings(Section):
    """[log]: one stream on stderr, the parent's lines and the workers'."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    text: bool = False


class Settings(Section):
    """Every setting of the service. `load_settings` builds it: it knows the sources and resolves paths."""

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    workers: WorkerSettings = WorkerSettings()
    model: ModelSettings = ModelSettings()
    defaults: DefaultSettings = DefaultSettings()
    voices: VoiceSettings = VoiceSettings()
    websocket: WebSocketSettings = WebSocketSettings()
    log: LogSettings = LogSettings()


class _Environment(Settings, BaseSettings):
    """Tells pydantic-settings which variables to read."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__")


Tables = Mapping[str, Mapping[str, Any]]


def load_settings(config: Path | None = None, overrides: Tables | None = None) -> Settings:
    """Read every source and check it.

    config: the file to read; None reads config.toml in the working directory where there is one.
    overrides: what flags said, as {section: {key: value}}.
    Raises SettingsError.
    """
    path = config or (Path(CONFIG_NAME) if Path(CONFIG_NAME).is_file() else None)
    file = _read_toml(path) if path else {}
    _check_environment(os.environ)
    try:
        environment = EnvSettingsSource(_Environment)()
        _check_tables(environment)
        settings = Settings.model_validate(_merge(file, environment, overrides or {}))
    except (SourceError, RecursionError) as error:
        raise SettingsError(f"{error}: lists are written as JSON in the environment") from error
    except ValidationError as error:
        raise SettingsError(_first_problem(error)) from error
    return _resolve_paths(settings, (path.absolute().parent if path else Path.cwd()))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    # A number of 5,000 digits and brackets 3,000 deep are no TOMLDecodeError.
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: {section!r} stands outside a section: put it below one of {_sections()}")
        for key in table:
            _check_name(section, key, f"{path}: {section}.{key}")
        _check_name(section, None, f"{path}: [{section}]")
    return tables


def _check_environment(environ: Mapping[str, str]) -> None:
    for name in environ:
        section, separator, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if name.startswith(ENV_PREFIX) and separator:
            _check_name(section, key, name)


def _check_tables(environment: Mapping[str, Any]) -> None:
    """A section's own variable would have to hold all of its table."""
    for section, table in environment.items():
        if not isinstance(table, dict):
            name = f"{ENV_PREFIX}{section.upper()}"
            raise SettingsError(f"{name} is not a setting: write {name}__KEY")


def _check_name(section: str, key: str | None, shown: str) -> None:
    """Unknown names are errors that name the nearest neighbour."""
    shown = shown if shown.isprintable() else ascii(shown)
    if section not in Settings.model_fields:
        raise SettingsError(f"{shown} is not a setting{_nearest(section, Settings.model_fields)}")
    table = Settings.model_fields[section].annotation
    if key is not None and table is not None and key not in table.model_fields:
        everywhere = [f"{name}.{field}" for name in Settings.model_fields for field in _keys(name)]
        raise SettingsError(f"{shown} is not a setting{_nearest(f'{section}.{key}', everywhere)}")


def _keys(section: str) -> Iterable[str]:
    table = Settings.model_fields[section].annotation
    return table.model_fields if table is not None else ()


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": the sections are {_sections()}"


def _sections() -> str:
    return ", ".join(f"[{name}]" for name in Settings.model_fields)


def _merge(*sources: Tables) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for source in sources:
        for section, table in source.items():
            merged[section] = {**merged.get(section, {}), **table}
    return merged


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    name = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name} = {problem['input']!r}: {message[0].lower()}{message[1:]}"


def _resolve_paths(settings: Settings, base: Path) -> Settings:
    """Make every path absolute: relative ones count from the configuration file's folder."""
    keys = settings.server.api_keys_file
    server = settings.server.model_copy(update={"api_keys_file": keys and _place(base, keys)})
    model = settings.model.model_copy(
        update={
            "dir": _place(base, settings.model.dir),
            "source_dir": settings.model.source_dir and _place(base, settings.model.source_dir),
        }
    )
    prompt = settings.defaults.prompt_wav
    if prompt is not None:
        shipped = prompt == DEFAULT_PROMPT and not (base / prompt).exists()
        prompt = _place(PACKAGED if shipped else base, prompt)
    defaults = settings.defaults.model_copy(update={"prompt_wav": prompt})
    voices = settings.voices.model_copy(update={"dir": _place(base, settings.voices.dir)})
    changed = {"server": server, "model": model, "defaults": defaults, "voices": voices}
    return settings.model_copy(update=changed)


def _place(base: Path, path: Path) -> Path:
    try:
        return base / path.expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{path}: nobody here has a home directory of that name") from error
