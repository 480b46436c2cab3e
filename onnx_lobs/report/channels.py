"""Shows what became of a model's channels: the groups, what had to stay, and what that saved."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from onnx_lobs.report.numbers import format_bytes, format_change, format_error, format_percent
from onnx_lobs.report.record import (
    ChannelsRecord,
    DroppedRecord,
    GroupRecord,
    QueryKeyRecord,
)
from onnx_lobs.report.table import Name, plain_table

UNITS = {
    "macs": "multiplications", "bytes": "bytes", "channels": "channels", "latency": "milliseconds",
}  # fmt: skip
LOSSES = "loss", "output\nper loss"


def channel_tables(record: ChannelsRecord | None) -> Iterator[Table]:
    """Yield one table of the groups, and one of what had to stay."""
    if record is None:
        return
    table = _table("coupled channels", "group", "channels", "kept", "gone", *LOSSES)
    for group in record.groups:
        gone = format_percent(group.channels - group.kept, group.channels)
        table.add_row(Name(group.name), str(group.channels), str(group.kept), gone, *_losses(group))
    yield table
    if record.products:
        yield _products(record)
    if record.pinned:
        stay = _table("channels that stay", "weight", "channels")
        stay.add_column("why")
        for pinned in record.pinned:
            stay.add_row(Name(pinned.name), str(pinned.channels), pinned.reason)
        yield stay


def _products(record: ChannelsRecord) -> Table:
    """Return the table of the dimensions of queries and keys."""
    head = "dimensions of queries and keys"
    table = _table(head, "product", "heads", "dimensions", "kept", *LOSSES)
    for each in record.products:
        numbers = (str(n) for n in (each.heads, each.dimensions, each.kept))
        table.add_row(Name(each.name), *numbers, *_losses(each))
    return table


def _table(head: str, name: str, *numbers: str) -> Table:
    """Return an empty table of names and numbers."""
    table = plain_table(head)
    table.add_column(name, min_width=Name.least)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _losses(record: GroupRecord | QueryKeyRecord) -> tuple[str, str]:
    """Return the loss of what went, and what the outputs make of it, where that is known."""
    sensitivity = "-" if record.sensitivity is None else f"{record.sensitivity:.2g}"
    return format_error(record.loss), sensitivity


def channel_rows(record: ChannelsRecord | None) -> Iterator[tuple[str, str]]:
    """Yield what removing channels saved, in words."""
    if record is None:
        return
    unit = UNITS[record.budget]
    share = f"{100 * record.removed:.1f} % of the {unit} of the groups"
    yield "channels", f"{share} are gone"
    yield from _saved(record.multiplications, record.constants)
    if record.latency is not None:
        dense, pruned = (1000 * seconds for seconds in record.latency)
        yield (
            "latency",
            f"{dense:.2f} -> {pruned:.2f} ms on one thread ({dense / pruned:.2f}x faster)",
        )
    if record.predicted_latency is not None:
        dense, pruned = (1000 * seconds for seconds in record.predicted_latency)
        yield "latency predicted", f"{dense:.2f} -> {pruned:.2f} ms ({dense / pruned:.2f}x faster)"


def dropped_rows(record: DroppedRecord | None) -> Iterator[tuple[str, str]]:
    """Yield what dropping empty channels saved, in words."""
    if record is None:
        return
    if not record.count:
        yield "empty channels", "none"
        return
    yield "empty channels", f"{record.count:,} dropped without loss"
    yield from _saved(record.multiplications, record.constants)


def _saved(
    multiplications: tuple[int, int], constants: tuple[int, int]
) -> Iterator[tuple[str, str]]:
    before, after = multiplications
    yield "multiplications", f"{before:,} -> {after:,} ({format_change(before, after)})"
    sizes = map(format_bytes, constants)
    yield "constants", f"{' -> '.join(sizes)} ({format_change(*constants)})"
