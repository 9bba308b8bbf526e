"""How the tools behave that tests use."""

from hypothesis import HealthCheck, settings

# No test asserts a time, hypothesis's included: this machine may be busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
