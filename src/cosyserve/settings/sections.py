"""Every setting, by section, with its built-in default and the values that it takes."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ByteSize, ConfigDict, Field, IPvAnyNetwork, field_validator

PACKAGED = Path(__file__).parent / "packaged"
"""The shipped config.toml and asset/, so that an installed wheel works without a checkout."""

DEFAULT_PROMPT = Path("asset/zero_shot_prompt.wav")
DEFAULT_INSTRUCTION = "你是一位热情友好的餐馆店员,说话温柔亲切,语气礼貌专业。<|endofprompt|>"
MIB = 1024 * 1024


class SettingsError(Exception):
    """The settings cannot be used; the message says which and what to do, in a line or, of several, a line each."""


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
    public_names: bool = False
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    max_upload_bytes: ByteSize = Field(ByteSize(16 * MIB), gt=0)
    shutdown_grace_s: float = Field(30, ge=0)
    max_buffered_bytes: ByteSize = Field(ByteSize(256 * MIB), gt=0)
    client_stall_timeout_s: float = Field(30, gt=0)
    max_connections: int = Field(1024, ge=1)
    keep_alive_s: float = Field(75, gt=0)
    body_timeout_s: float = Field(60, gt=0)

    @property
    def needs_key(self) -> bool:
        """Whether there are any keys."""
        return bool(self.api_keys or self.api_keys_file)

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

    max_concurrency: int = Field(0, ge=0)
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
    handover: Literal["auto", "beside", "in_turn"] = "auto"

    @field_validator("devices", mode="before")
    @classmethod
    def _as_strings(cls, devices: object) -> object:
        return tuple(map(str, devices)) if isinstance(devices, list | tuple) else devices


class ModelSettings(Section):
    """[model]: the engine and what it loads. Engines give the fields their meaning."""

    engine: str = "auto"
    dir: Path = Path("pretrained_models/CosyVoice2-0.5B")
    source_dir: Path | None = None
    device: Literal["auto", "cuda", "cpu"] = "auto"
    precision: str = "auto"
    language_model: Literal["auto", "int8"] = "auto"
    language_model_file: Literal["llm.pt", "llm.rl.pt"] = "llm.pt"
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


class SpeechSettings(Section):
    """[speech]: what is done about what clients ask to say."""

    unspeakable: Literal["silence", "error"] = "silence"


class TextSettings(Section):
    """[text]: what is made of a text before it is spoken."""

    model_marks: bool = True
    normaliser: Literal["cosyserve", "wetext", "none"] = "cosyserve"
    language: str = Field("", pattern=r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*)?$", max_length=35)
    markup: Literal["strip", "read"] = "strip"
    lexicon: Path | None = None

    @field_validator("lexicon", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None


class VoiceSettings(Section):
    """[voices]: the voices that clients store. The sizes are in bytes."""

    dir: Path = Path("voices")
    url: str = ""
    max_count: int = Field(1000, ge=0)
    max_bytes: ByteSize = Field(ByteSize(10 * MIB), gt=0)
    max_cached_bytes: ByteSize = Field(ByteSize(256 * MIB), ge=0)
    preload: tuple[str, ...] = ()

    @field_validator("url")
    @classmethod
    def _bucket(cls, url: str) -> str:
        if url and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?", url):
            raise ValueError("it must be s3://bucket or s3://bucket/prefix, or empty")
        return url


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
    speech: SpeechSettings = SpeechSettings()
    text: TextSettings = TextSettings()
    voices: VoiceSettings = VoiceSettings()
    websocket: WebSocketSettings = WebSocketSettings()
    log: LogSettings = LogSettings()

    def with_engine(self, engine: str) -> Self:
        """The same with this engine, which `auto` has turned out to be."""
        return self.model_copy(update={"model": self.model.model_copy(update={"engine": engine})})
