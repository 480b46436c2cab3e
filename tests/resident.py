"""How much memory the test's process holds."""

from __future__ import annotations

from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")
on_linux = pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells it this way")


def resident() -> int:
    """Return the bytes of this process in memory."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
