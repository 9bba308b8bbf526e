"""How the tools behave that tests use."""

from importlib.util import find_spec

from hypothesis import HealthCheck, settings

from tests.chromium import chromium

# No test asserts a time, hypothesis's included: this machine may be busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# The model engines' tests need torch and a snapshot of the CosyVoice library, which `make test-models` installs.
MODEL_TESTS = ["model/test_cosyvoice*", "model/test_native*", "http/test_cosyvoice*"]
# And the page's a browser, which no `pip install` brings.
PAGE_TESTS = ["http/test_page.py"]
collect_ignore_glob = [
    *([] if find_spec("torch") and find_spec("xinference") else MODEL_TESTS),
    *([] if chromium() else PAGE_TESTS),
]
