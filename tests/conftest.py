"""How the tools behave that tests use."""

from importlib.util import find_spec

from hypothesis import HealthCheck, settings

# No test asserts a time, hypothesis's included: this machine may be busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# The model engines' tests need torch and a snapshot of the CosyVoice library, which `make test` installs and
# `make test-light` does without.
MODEL_TESTS = [
    "model/test_cosyvoice*",
    "model/test_native*",
    "model/test_download*",
    "http/test_cosyvoice*",
    "http/test_native*",
]
collect_ignore_glob = [] if find_spec("torch") and find_spec("xinference") else MODEL_TESTS
