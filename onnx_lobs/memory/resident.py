"""Tells how much memory the process holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")  # Linux: pages of the process; the second number is in memory


def resident_bytes() -> int | None:
    """Return the bytes of this process that are in memory, or None where nothing tells it."""
    if not sys.platform.startswith("linux") or not _STATM.exists():
        return None
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
