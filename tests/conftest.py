"""Profiles of the property tests: ``HYPOTHESIS_PROFILE=thorough`` tries 500 examples of each."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

slow_is_fine = [HealthCheck.too_slow]  # a solve of a drawn layer takes up to a second

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.register_profile(
    "thorough", max_examples=500, deadline=None, suppress_health_check=slow_is_fine
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
