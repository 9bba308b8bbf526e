"""The web page's files: read once, each with its media type and its tag for caches."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""By suffix; a file with another one is no part of the page. Never guessed: what a machine's own table of types says
differs, and a browser runs no script that comes as something else."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is served. etag: with its quotes."""

    media_type: str
    content: bytes
    etag: str


def _read() -> dict[str, PageFile]:
    """By the path under which it is served."""
    files = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in MEDIA_TYPES:
            content = path.read_bytes()
            tag = hashlib.blake2b(content, digest_size=16).hexdigest()
            place = "/" if path.name == INDEX else f"/page/{path.name}"
            files[place] = PageFile(MEDIA_TYPES[path.suffix], content, f'"{tag}"')
    return files


PAGE_FILES = _read()
