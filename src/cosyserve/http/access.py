"""API keys: where they come from, and whose a request's is."""

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from starlette.datastructures import Headers

from cosyserve.settings.sections import ServerSettings, SettingsError

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Keyring:
    """The keys that open the service, by name. Only their hashes are kept."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = {name: _digest(key) for name, key in keys.items()}

    def __len__(self) -> int:
        return len(self._digests)

    def owner_of(self, key: str) -> str | None:
        """The key's name; None where it is nobody's.

        Every key is compared, and hashes are, so that the time says nothing about which came near.
        """
        digest = _digest(key)
        matching = [name for name, known in self._digests.items() if secrets.compare_digest(digest, known)]
        return matching[0] if matching else None


def sent_key(headers: Headers, query: Mapping[str, str] | None = None) -> str:
    """The key that a client sends: `Authorization: Bearer KEY` or `X-Api-Key: KEY`; "" where there is none.

    query: where a browser's WebSocket, which can send no headers, may have it as `api_key`.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return headers.get("x-api-key", "") or (query or {}).get("api_key", "")


def load_keyring(settings: ServerSettings) -> Keyring:
    """The keys of the configuration, named key-1, key-2 and so on, and those of the file. Raises SettingsError."""
    keys = {f"key-{number}": key for number, key in enumerate(settings.api_keys, 1)}
    if settings.api_keys_file is not None:
        for name, key in _read_file(settings.api_keys_file):
            if name in keys:
                raise SettingsError(f"server.api_keys_file {settings.api_keys_file}: two keys are named {name}")
            keys[name] = key
        if not keys:
            # An empty file that opened the service to everyone would be a trap.
            raise SettingsError(f"server.api_keys_file {settings.api_keys_file}: no key is in it")
    return Keyring(keys)


def _read_file(path: Path) -> Iterator[tuple[str, str]]:
    """Lines of NAME:KEY; empty ones and those that begin with # are passed over."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"server.api_keys_file {path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, key = (part.strip() for part in line.partition(":"))
        if not (colon and _NAME.fullmatch(name) and key and key.isascii()):
            # The line itself is a secret.
            raise SettingsError(f"server.api_keys_file {path}: line {number} is not NAME:KEY in ASCII")
        yield name, key


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape")).digest()
