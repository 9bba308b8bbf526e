"""What to type so that a package of ours is there: right from a checkout and from a wheel, since no index has us."""

import json
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cosyserve import __version__

WHEEL = f"cosyserve-{__version__}-py3-none-any.whl"


def install(extra: str = "", *options: str, code: Path = Path(__file__)) -> str:
    """The command that installs what an extra lists; "" is the front end alone. code: this file, where it lies."""
    checkout = code.parents[3]
    if (checkout / "pyproject.toml").is_file():
        return _pip(*options, "-e", f"{checkout}{_bracketed(extra)}")
    origin = _origin()
    if origin.is_dir():
        return _pip(*options, f"{origin}{_bracketed(extra)}")
    # Whoever installed it has the file, here or elsewhere.
    return _pip(*options, f"{origin if origin.is_file() else WHEEL}{_bracketed(extra)}")


def pip_of_ours() -> str:
    """What installs into this environment, where the shell's `pip` is another's; else ""."""
    found = shutil.which("pip")
    return "" if found == str(Path(sys.executable).with_name("pip")) else f"{sys.executable} -m pip"


def _pip(*arguments: str) -> str:
    return shlex.join(["pip", "install", *arguments])


def _bracketed(extra: str) -> str:
    return f"[{extra}]" if extra else ""


def _origin() -> Path:
    """The folder or file that pip was given; the wheel's bare name where it does not say."""
    try:
        told = metadata.distribution("cosyserve").read_text("direct_url.json")
        return Path(unquote(urlsplit(json.loads(told or "")["url"]).path))
    except (metadata.PackageNotFoundError, ValueError, LookupError, TypeError):
        return Path(WHEEL)
