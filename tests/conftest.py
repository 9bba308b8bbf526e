"""How the tools behave that tests use."""

import gc
import logging
import os
import signal
from importlib.util import find_spec
from itertools import zip_longest
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

LONGEST_ID = 60
"""Characters of a value that are in a test's name."""
WAIT = ("cluster", "fuzz", "http", "process")
"""Where the tests that wait as much as they compute are."""


def pytest_make_parametrize_id(val: object) -> str | None:
    """The beginning of a long value: xdist sends each test's name to and fro, and some values are megabytes."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{val[:LONGEST_ID]!a} and so on, {len(val)}"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests stay together when they are dealt to processes (see the Makefile's `test`), and which come first.

    A file is a group: its fixtures are made once. Those of the CosyVoice library, which takes long to load, are one.
    Groups that compute and groups that wait are dealt in turn, so that there is always one to use the processor; last
    come those of tests/unit, which are short.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_place(item)))
    if "PYTEST_XDIST_WORKER" in os.environ:
        places = list(dict.fromkeys(map(_place, items)))
        waiting = [place for place in places if place.startswith(WAIT)]
        computing = [place for place in places if place.startswith("model")]
        dealt = [place for pair in zip_longest(computing, waiting) for place in pair if place]
        items.sort(key=lambda item: dealt.index(_place(item)) if _place(item) in dealt else len(dealt))


def pytest_collection_finish() -> None:
    """What was collected stays to the end: nobody has to look through it for garbage again and again."""
    gc.collect()
    gc.freeze()


def _place(item: pytest.Item) -> str:
    place = str(item.path.relative_to(Path(__file__).parent))
    # One cluster at a time: it takes memory and processes as if the machine were its own.
    return next((whole for whole in ("cluster", "model/cosyvoice") if place.startswith(whole)), place)
