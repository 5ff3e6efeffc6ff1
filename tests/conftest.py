"""Settings that all tests share."""

from hypothesis import HealthCheck, settings

# Compiling oracles and busy machines take their time: no deadline a case.
settings.register_profile(
    "deltaprop", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)
settings.load_profile("deltaprop")
