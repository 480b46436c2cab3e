"""Amounts of memory: as text, as shares, as the system tells them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.memory import shares as memory
from onnx_lobs.memory.shares import available_memory, share_out
from onnx_lobs.options.config import PruneConfig


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory is 1000; it must be at least 1048576"):
        PruneConfig(memory=1000)


def test_shares_leave_something_for_the_rest() -> None:
    room = share_out(1 << 30)
    assert room.activations + room.grams + room.weights < 1 << 30


def test_without_a_limit_only_the_activations_depend_on_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10 << 30)
    small = share_out(None)
    monkeypatch.setattr(memory, "available_memory", lambda: 100 << 30)
    large = share_out(None)
    assert (small.activations, large.activations) == (5 << 30, 50 << 30)
    assert (small.grams, small.weights) == (large.grams, large.weights)


def test_available_memory_is_the_least_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_memory() > 1 << 20
    monkeypatch.setattr(memory, "_from_meminfo", lambda: None)
    monkeypatch.setattr(memory, "_from_cgroup", lambda: None)
    monkeypatch.setattr(memory, "_from_address_space", lambda: None)
    assert available_memory() > 1 << 20
    monkeypatch.setattr(memory, "_from_cgroup", lambda: 5)
    assert available_memory() == 5


@pytest.mark.parametrize(("limit", "left"), [("1000", 400), ("500", 0), ("max", None)])
def test_a_containers_limit_counts(tmp_path: Path, limit: str, left: int | None) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("600\n")
    assert memory._from_cgroup(tmp_path) == left
    assert memory._from_cgroup(tmp_path / "nowhere") is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of address space")
def test_limit_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert memory._from_address_space() is None
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 50, 1 << 50))
    left = memory._from_address_space()
    assert left is not None
    assert 0 < left < 1 << 50  # less what the process has already
    monkeypatch.setattr(resource, "getrlimit", lambda _: (5, 5))
    assert memory._from_address_space() == 0
