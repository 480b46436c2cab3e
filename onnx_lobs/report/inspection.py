"""Shows what a model holds, before anything is done to it: as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnx_lobs.report.numbers import format_bytes, format_percent
from onnx_lobs.report.record import SCHEMA
from onnx_lobs.report.skips import file_rows, skip_table
from onnx_lobs.report.table import Name, plain_table

if TYPE_CHECKING:
    from onnx_lobs.verbs.inspect import Inspection, LayerRow


def render_inspection(inspection: Inspection, *, verbose: bool = False) -> RenderableType:
    """Return what was found as a renderable that fits 80 columns and more.

    Parameters
    ----------
    inspection
        What was found. Not modified.
    verbose
        Whether every skipped node is listed, rather than groups of them where they are many.
    """
    layers = inspection.layers
    parts: list[RenderableType] = [_head(inspection), ""]
    parts.append(_layer_table(layers) if layers else Text("no layer can be pruned", "yellow"))
    if inspection.skipped:
        parts += ["", skip_table(inspection.skipped, verbose=verbose)]
    weights, zeros = sum(row.weights for row in layers), sum(row.zeros for row in layers)
    share = format_percent(zeros, weights)
    total = f"{len(layers):,} layers, {weights:,} prunable weights, {zeros:,} zeros ({share})"
    parts += map(Text, ("", *inspection.warnings, total))
    return Group(
        *parts, *(Text(f"{name}: {words}") for name, words in file_rows(inspection.weights))
    )


def inspection_to_json(inspection: Inspection) -> str:
    """Return what was found as JSON; ``schema`` is the version of its form."""
    return json.dumps({"schema": SCHEMA, **dataclasses.asdict(inspection)}, indent=2)


def _head(inspection: Inspection) -> Text:
    facts = [
        f"opset {inspection.opset}",
        f"IR {inspection.ir_version}",
        f"by {inspection.producer}" if inspection.producer else "",
        format_bytes(inspection.file_bytes) if inspection.file_bytes else "",
    ]
    return Text.assemble((inspection.model, "bold"), "\n", ", ".join(filter(None, facts)))


def _layer_table(layers: Sequence[LayerRow]) -> Table:
    """Return one row per layer; the number of uses only where a weight is tied."""
    tied = any(row.uses > 1 for row in layers)
    table = plain_table("prunable layers")
    table.add_column("layer", min_width=Name.least)
    for heading in ("op", "shape", "dtype"):
        table.add_column(heading, no_wrap=True)
    for heading in ("matrix", "weights", "zeros", *(("uses",) if tied else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in layers:
        groups = (row.groups,) if row.groups > 1 else ()
        table.add_row(
            Name(row.name),
            row.op,
            _times(row.shape),
            row.dtype,
            _times((*groups, row.rows, row.columns)),
            f"{row.weights:,}",
            format_percent(row.zeros, row.weights),
            *((f"{row.uses}",) if tied else ()),
        )
    return table


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
