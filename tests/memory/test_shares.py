"""Amounts of memory: as text, as shares, as the system tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnx_lobs.errors import ConfigError
from onnx_lobs.memory import shares as memory
from onnx_lobs.memory.shares import available_memory, share_out
from onnx_lobs.options.config import PruneConfig, parse_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", 2 << 30), ("2gib", 2 << 30), ("2 G", 2 << 30), ("500MB", 500_000_000),
        ("1.5KiB", 1536), ("7", 7), ("7B", 7), ("1TiB", 1 << 40), (" 3 kb ", 3000),
    ],
)  # fmt: skip
def test_amounts_are_read(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "1 PiB", "GiB", "1,5GiB", "0x10"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no amount of memory; write 2GiB"):
        parse_bytes(text)


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
    assert available_memory() > 1 << 20
    monkeypatch.setattr(memory, "_from_cgroup", lambda: 5)
    assert available_memory() == 5


@pytest.mark.parametrize(("limit", "left"), [("1000", 400), ("500", 0), ("max", None)])
def test_a_containers_limit_counts(tmp_path: Path, limit: str, left: int | None) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("600\n")
    assert memory._from_cgroup(tmp_path) == left
    assert memory._from_cgroup(tmp_path / "nowhere") is None
