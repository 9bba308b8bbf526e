"""Where this machine's Chromium is."""

import shutil
import subprocess
from functools import lru_cache

NAMES = ("chromium", "google-chrome", "chromium-browser")


@lru_cache(maxsize=1)
def chromium() -> str | None:
    """The program; None where there is none that a test can start.

    A snap sees another /tmp than the tests, and Ubuntu's package of that name only says that there is a snap.
    """
    found = filter(None, map(shutil.which, NAMES))
    return next((path for path in found if not path.startswith("/snap/") and _runs(path)), None)


def _runs(path: str) -> bool:
    return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0
