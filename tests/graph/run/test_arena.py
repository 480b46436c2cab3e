"""The arena that all sessions share: memory used again, and given back."""

from __future__ import annotations

import numpy as np
from build_onnx import model, value
from onnx import helper
from resident import on_linux, resident

from onnx_lobs.graph.run.arena import release_memory
from onnx_lobs.graph.run.session import Session

MIB = 2**20


def doubling() -> Session:
    """Return a network whose output is as large as its input."""
    return Session(model([helper.make_node("Add", ["x", "x"], ["y"])], [value("x", ["n"])], ["y"]))


@on_linux
def test_sessions_use_the_same_memory_and_give_it_back() -> None:
    x = np.ones(16 * MIB, np.float32)
    release_memory()
    before = resident()
    for _ in range(4):
        assert doubling().run({"x": x})["y"][-1] == 2
    used = resident() - before
    # one output of 64 MiB, not four; half of one to spare for sessions and other tests' leavings
    assert 60 * MIB < used < 96 * MIB
    release_memory()
    assert resident() - before < 32 * MIB


def test_memory_that_is_seen_is_not_given_back() -> None:
    kept = doubling().run({"x": np.arange(MIB, dtype=np.float32)})["y"]
    release_memory()
    doubling().run({"x": np.zeros(MIB, np.float32)})
    assert np.array_equal(kept, 2 * np.arange(MIB, dtype=np.float32))
