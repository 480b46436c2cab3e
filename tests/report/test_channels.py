"""The report shows the groups, what had to stay, and what that saved."""

from __future__ import annotations

import dataclasses

import pytest
from rich.console import Console, Group

from onnx_lobs.report.channels import channel_rows, channel_tables
from onnx_lobs.report.record import ChannelsRecord, GroupRecord, PinnedRecord, QueryKeyRecord

RECORD = ChannelsRecord(
    groups=(GroupRecord("conv1.weight", 64, 48, 0.0123, 0.25), GroupRecord("fc.weight", 8, 8, 0.0)),
    pinned=(PinnedRecord("head.weight", 10, "'y' is an output of the graph"),),
    budget="macs",
    removed=0.301,
    multiplications=(2000, 1000),
    constants=(1_000_000, 500_000),
    latency=(0.004, 0.002),
    predicted_latency=(0.004, 0.0025),
    products=(QueryKeyRecord("attention.MatMul", 12, 32, 24, 0.0234, 0.5),),
)


def shown(record: ChannelsRecord | None) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(Group(*channel_tables(record)))
    return capture.get()


def test_groups_and_what_stays_are_listed() -> None:
    text = shown(RECORD)
    assert "conv1.weight" in text
    assert "25.0 %" in text
    assert "head.weight" in text
    assert "'y' is an output of the graph" in text


def test_dimensions_of_queries_and_keys_are_listed_where_there_are_any() -> None:
    text, other = shown(RECORD), shown(dataclasses.replace(RECORD, products=()))
    row = next(line for line in text.splitlines() if "attention.MatMul" in line)
    assert row.split()[1:] == ["12", "32", "24", "0.0234", "0.5"]
    assert "dimensions of queries and keys" in text
    assert "dimensions of queries and keys" not in other


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("channels", "30.1 % of the multiplications of the groups are gone"),
        ("multiplications", "2,000 -> 1,000 (2.00x smaller)"),
        ("constants", "1.00 MB -> 500 kB (2.00x smaller)"),
        ("latency", "4.00 -> 2.00 ms on one thread (2.00x faster)"),
        ("latency predicted", "4.00 -> 2.50 ms (1.60x faster)"),
    ],
)
def test_what_was_saved_is_said(label: str, words: str) -> None:
    assert dict(channel_rows(RECORD))[label] == words


def test_a_run_that_removes_none_says_nothing() -> None:
    assert list(channel_rows(None)) == []
    assert list(channel_tables(None)) == []
