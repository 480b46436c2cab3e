"""What the process holds is what the system says it holds."""

from __future__ import annotations

import numpy as np
import pytest
from resident import on_linux, resident

from onnx_lobs.memory import resident as module
from onnx_lobs.memory.resident import resident_bytes

CLOSE = 8 << 20  # bytes: other threads allocate between two readings


@on_linux
def test_it_follows_what_is_allocated() -> None:
    before = resident_bytes()
    assert before is not None
    assert abs(before - resident()) < CLOSE
    held = np.ones(8 << 20)
    after = resident_bytes()
    assert after is not None
    assert abs(after - before - held.nbytes) < CLOSE


def test_it_is_not_known_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert resident_bytes() is None
