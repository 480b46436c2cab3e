"""Shows what became of a model's channels: the groups, what had to stay, and what that saved."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from onnx_lobs.report.numbers import format_bytes, format_change, format_error, format_percent
from onnx_lobs.report.record import ChannelsRecord, DroppedRecord
from onnx_lobs.report.table import Name, plain_table

UNITS = {
    "macs": "multiplications", "bytes": "bytes", "channels": "channels", "latency": "milliseconds",
}  # fmt: skip


def channel_tables(record: ChannelsRecord | None) -> Iterator[Table]:
    """Yield one table of the groups, and one of what had to stay."""
    if record is None:
        return
    table = plain_table("coupled channels")
    table.add_column("group", min_width=Name.least)
    for heading in ("channels", "kept", "gone", "loss", "output\nper loss"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in record.groups:
        sensitivity = "-" if group.sensitivity is None else f"{group.sensitivity:.2g}"
        gone = format_percent(group.channels - group.kept, group.channels)
        loss = format_error(group.loss)
        table.add_row(
            Name(group.name), str(group.channels), str(group.kept), gone, loss, sensitivity
        )
    yield table
    if record.products:
        yield _products(record)
    if record.pinned:
        stay = plain_table("channels that stay")
        stay.add_column("weight", min_width=Name.least)
        stay.add_column("channels", justify="right", no_wrap=True)
        stay.add_column("why")
        for pinned in record.pinned:
            stay.add_row(Name(pinned.name), str(pinned.channels), pinned.reason)
        yield stay


def _products(record: ChannelsRecord) -> Table:
    """Return the table of the dimensions of queries and keys."""
    table = plain_table("dimensions of queries and keys")
    table.add_column("product", min_width=Name.least)
    for heading in ("heads", "dimensions", "kept", "loss", "output\nper loss"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in record.products:
        sensitivity = "-" if each.sensitivity is None else f"{each.sensitivity:.2g}"
        numbers = (str(n) for n in (each.heads, each.dimensions, each.kept))
        table.add_row(Name(each.name), *numbers, format_error(each.loss), sensitivity)
    return table


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
