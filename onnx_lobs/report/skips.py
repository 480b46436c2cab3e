"""Shows skipped nodes as a table: all of them, or by kind of reason where they are many."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onnx_lobs.report.numbers import format_percent
from onnx_lobs.report.record import FileWeights, SkipRecord
from onnx_lobs.report.table import Name, plain_table

MOST_ROWS = 12
_EXAMPLES = 2
_VARYING = re.compile(r"('[^']*'|\d+)")  # the names and numbers in a reason


def skip_table(skips: Sequence[SkipRecord], *, verbose: bool = False) -> Table:
    """Return one row per skipped node, or per kind of reason where they are more than `MOST_ROWS`.

    Parameters
    ----------
    skips
        At least one.
    verbose
        List every node all the same.
    """
    if verbose or len(skips) <= MOST_ROWS:
        table = plain_table("skipped nodes")
        table.add_column("node", min_width=Name.least)
        table.add_column("op", no_wrap=True)
        table.add_column("weights", justify="right", no_wrap=True)
        table.add_column("reason", min_width=20)
        names = [skip.node for skip in skips]
        for skip in skips:
            table.add_row(Name(skip.node, names), skip.op, _count(skip.weights), Text(skip.reason))
        return table
    table = plain_table(f"skipped nodes: {len(skips):,} (-v lists them)")
    table.add_column("nodes", justify="right", no_wrap=True)
    table.add_column("weights", justify="right", no_wrap=True)
    table.add_column("reason", min_width=20)
    table.add_column("examples", min_width=Name.least)
    for reason, group in group_skips(skips):
        examples = Group(*(Name(f"{skip.op} {skip.node}") for skip in group[:_EXAMPLES]))
        weights = _count(sum(skip.weights for skip in group))
        table.add_row(f"{len(group):,}", weights, Text(reason), examples)
    return table


def _count(weights: int) -> str:
    return f"{weights:,}" if weights else "-"


def file_rows(file: FileWeights | None, *, is_all: bool = False) -> Iterator[tuple[str, str]]:
    """Yield in words how many weights the whole file has, and what became of those not taken.

    The first row is left out where it is known already that `is_all` of them were taken.
    """
    if file is None:
        return
    if not is_all:
        taken = f"{file.taken:,} of {file.weights:,} weights can be pruned"
        yield "in the file", f"{taken} ({format_percent(file.taken, file.weights)})"
    if file.skipped:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in file.skipped.items())
        yield "left", kinds
    if file.quantised_zeros is not None and file.quantised:
        share = format_percent(file.quantised_zeros, file.quantised)
        yield "quantised", f"{file.quantised_zeros:,} of {file.quantised:,} stand for 0 ({share})"
    if file.tables:
        yield "in tables", f"{file.tables:,} besides, of which rows are looked up"
    if file.products:
        words = "product" if file.products == 1 else "products"
        yield "no weights", f"{file.products:,} {words} of two computed operands"


def group_skips(skips: Sequence[SkipRecord]) -> list[tuple[str, list[SkipRecord]]]:
    """Group skipped nodes by the kind of their reason.

    Returns
    -------
    list of (reason, skips)
        The largest group first. Of sentences that differ in names and numbers only, these are
        ``…``; for others the kind stands.
    """
    groups: dict[str, list[SkipRecord]] = {}
    for skip in skips:
        groups.setdefault(skip.kind, []).append(skip)
    found = [(_common(kind, group), group) for kind, group in groups.items()]
    return sorted(found, key=lambda entry: -len(entry[1]))


def _common(kind: str, skips: Sequence[SkipRecord]) -> str:
    """Return what the sentences of one kind have in common."""
    split = [_VARYING.split(skip.reason) for skip in skips]
    if any(pieces[::2] != split[0][::2] for pieces in split):
        return kind
    same = zip(*split, strict=True)
    return "".join(piece[0] if len(set(piece)) == 1 else "…" for piece in same)
