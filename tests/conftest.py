"""What can be set: how thorough, and where the graph computes.

``HYPOTHESIS_PROFILE=thorough`` tries 500 examples of each property; ``pytest --provider cuda`` runs
what a graph can compute on a device (tests/graph/test_gram_nodes.py, tests/calibration) there.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from onnx_lobs.graph.run.session import find_provider

slow_is_fine = [HealthCheck.too_slow]  # a solve of a drawn layer takes up to a second

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.register_profile(
    "thorough", max_examples=500, deadline=None, suppress_health_check=slow_is_fine
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--provider", default="cpu", help="execution provider: cpu, cuda, ...")


@pytest.fixture(scope="session")
def provider(request: pytest.FixtureRequest) -> str:
    """The full name of the execution provider asked for."""
    return find_provider(request.config.getoption("--provider"))
