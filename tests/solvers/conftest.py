"""The two ways of everything that can be compiled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onnx_lobs.linalg import compiled


@pytest.fixture(scope="module", params=["compiled", "numpy"])
def loops(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module's tests with compiled loops, where Numba is installed, and without."""
    if request.param == "numpy":
        with compiled.without():
            yield
    elif compiled.is_available():
        yield
    else:
        pytest.skip("Numba is not installed (extra speed)")
