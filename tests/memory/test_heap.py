"""What is free in the heap goes back to the system."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest
from resident import on_linux, resident

from onnx_lobs.memory import heap

IS_OTHER = sys.platform != "win32" and not hasattr(ctypes.CDLL(None), "malloc_trim")
BLOCK = 1 << 16  # bytes: small enough to lie in the heap
BLOCKS = 1 << 10


@on_linux
@pytest.mark.skipif(IS_OTHER, reason="another C library than glibc")
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
    assert heap._trimmer()(0) is None  # glibc's tells whether it gave anything back
    heap._trimmer.cache_clear()
