"""Compiled loops: the same numbers as plain Python, and none where they are not wanted."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.linalg import compiled


@compiled.compiled
def add_squares(values, out):
    for i in range(values.size):
        out[0] += values[i] * values[i]


@pytest.mark.slow
def test_a_compiled_loop_is_the_plain_one():
    if not compiled.is_available():
        pytest.skip("Numba is not installed (extra speed)")
    values, results = np.arange(7.0), (np.zeros(1), np.zeros(1))
    add_squares(values, results[0])
    add_squares.__wrapped__(values, results[1])
    assert results[0] == results[1] == 91
    assert compiled.version() == f"numba {sys.modules['numba'].__version__}"


def test_nothing_is_compiled_within_without():
    before = compiled.is_available()
    with compiled.without():
        assert not compiled.is_available()
        assert compiled.version() is None
        with compiled.without():
            pass
        assert not compiled.is_available()
    assert compiled.is_available() == before


def test_nothing_is_compiled_if_the_environment_says_so(monkeypatch):
    monkeypatch.setenv("ONNX_LOBS_COMPILED", "0")
    assert not compiled.is_available()


@pytest.mark.parametrize("why", ["absent", "its compiler is off"])
def test_nothing_is_compiled_without_numba(monkeypatch, why):
    compiled._is_installed.cache_clear()
    if why == "absent":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    else:
        monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    try:
        assert not compiled.is_available()
    finally:
        compiled._is_installed.cache_clear()


def test_a_numba_that_does_not_load_is_named_with_a_remedy(monkeypatch):
    @compiled.compiled
    def one():
        return 1

    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ConfigError, match=r"Numba .* cannot be loaded: .*ONNX_LOBS_COMPILED=0"):
        one()
