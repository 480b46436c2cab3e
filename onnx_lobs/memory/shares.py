"""How the memory that a run may use is shared out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.platform != "win32":
    import resource

GRAM_BYTES = 2 << 30
WEIGHT_BYTES = 1 << 30
NOTED_BYTES = 4 << 30
LEAST_SOLVER = 1 << 28  # bytes that a layer's solver gets in any case
UNKNOWN = 4 << 30  # bytes taken as available where the system does not say


@dataclass(frozen=True)
class MemoryShares:
    """Bytes for each use.

    Attributes
    ----------
    activations
        Values between stages that stay in memory; more of them go to the scratch folder.
    grams
        Grams of one pass in independent mode; more of them take more passes.
    weights
        Weights in one session; a model with more runs in stages.
    noted
        What one stage of the dense network leaves for the layers to aim at; with more it runs in
        more stages.
    """

    activations: int
    grams: int
    weights: int
    noted: int


def share_out(memory: int | None) -> MemoryShares:
    """Return the shares of `memory` bytes, or of what the machine has.

    Parameters
    ----------
    memory
        None: half of the available memory for activations, 2 GiB of Grams, 1 GiB of
        weights, 4 GiB noted. The first changes only where values are kept; the limits of stages may
        change how sums are rounded, which is why they do not depend on the machine.
    """
    if memory is None:
        return MemoryShares(available_memory() // 2, GRAM_BYTES, WEIGHT_BYTES, NOTED_BYTES)
    # what is left is for the stage that runs and for the layer that is solved
    return MemoryShares(memory // 4, memory // 4, memory // 4, memory // 4)


def available_memory() -> int:
    """Return the bytes that can be allocated without swapping, as far as the system tells."""
    limits = [_from_meminfo(), _from_cgroup(), _from_address_space()]
    return min((limit for limit in limits if limit is not None), default=_physical())


def _from_meminfo() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None


def _from_cgroup(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what is left of a container's limit, or None if it has none."""
    try:
        limit, used = ((folder / f"memory.{name}").read_text() for name in ("max", "current"))
    except OSError:
        return None
    return max(int(limit) - int(used), 0) if limit.strip().isdigit() else None


def _from_address_space() -> int | None:
    """Return what is left of the process' own limit (`ulimit -v`), or None if it has none."""
    if sys.platform == "win32":
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return limit
    return max(limit - pages * resource.getpagesize(), 0)


def _physical() -> int:
    """Return half of the memory that is built in."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return UNKNOWN
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
