"""How the tools behave that tests use."""

import logging
import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.chromium import chromium

# Before torch is imported: processes side by side, with as many threads each as there are cores, wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A line for each request of a test is of no use to anybody.
logging.getLogger("httpx").setLevel(logging.WARNING)

# A shell starts what runs in the background with SIGINT ignored, and programs that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test asserts a time, hypothesis's included: this machine may be busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# The model engines' tests need torch and a snapshot of the CosyVoice library, which `make test` installs and
# `make test-light` does without.
MODEL_TESTS = [
    "model/cosyvoice",
    "model/native",
    "model/test_download*",
    "http/test_cosyvoice*",
    "http/test_native*",
]
# And the page's a browser, which no `pip install` brings.
PAGE_TESTS = ["http/test_page_*.py"]
collect_ignore_glob = [
    *([] if find_spec("torch") and find_spec("xinference") else MODEL_TESTS),
    *([] if chromium() else PAGE_TESTS),
]

SERVERS = {"fuzz": "processes", "http/test_page": "processes", "http": "servers", "process": "processes"}
"""Tests that wait more than they compute, by where their paths begin, and the group of each."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests stay together when they are dealt to processes (`-n 3 --dist loadgroup`).

    Those with servers and worker processes mostly wait, and mind each other's load: they are two groups. A file of any
    others is a group: its fixtures are made once.
    """
    for item in items:
        place = item.path.relative_to(Path(__file__).parent)
        loads = place.name.startswith(("test_cosyvoice", "test_native"))
        groups = (group for start, group in SERVERS.items() if str(place).startswith(start) and not loads)
        item.add_marker(pytest.mark.xdist_group(next(groups, str(place))))
