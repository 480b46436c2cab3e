"""What is free in the heap goes back to the system."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_lobs.memory import heap

STATUS = Path("/proc/self/status")
BLOCK = 1 << 16  # bytes: small enough to lie in the heap
BLOCKS = 1 << 10


def resident() -> int:
    """Return the bytes of this process in memory."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells the resident memory this way")
def test_pages_below_a_block_in_use_are_given_back() -> None:
    blocks = [np.ones(BLOCK, np.uint8) for _ in range(BLOCKS)]
    last = np.ones(BLOCK, np.uint8)
    del blocks
    before = resident()
    heap.trim_heap()
    # three quarters at the least: of every block a page may be shared with what is in use
    assert before - resident() > BLOCK * BLOCKS * 3 // 4
    assert last.all()


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    heap._trimmer.cache_clear()
    monkeypatch.setattr(heap.sys, "platform", "win32")
    heap.trim_heap()
    heap._trimmer.cache_clear()
