"""Shows what a model holds, before anything is done to it: as text and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnx_lobs.report.numbers import format_bytes, format_count, format_percent
from onnx_lobs.report.record import SCHEMA, range_words
from onnx_lobs.report.record.as_json import to_json
from onnx_lobs.report.skips import file_rows, skip_table
from onnx_lobs.report.table import Name, plain_table

if TYPE_CHECKING:
    from onnx_lobs.verbs.inspect import Inspection, LayerRow, ValueRow


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
    work = [row.multiplications for row in layers if row.multiplications is not None]
    if layers and len(work) == len(layers):
        total += f", {format_count(sum(work))} multiplications a sample"
    whole = (f"{name}: {words}" for name, words in file_rows(inspection.weights))
    lines = ("", *inspection.warnings, total, *whole, *_verdict(inspection))
    return Group(*parts, *map(Text, lines))


def _verdict(inspection: Inspection) -> Iterator[str]:
    """Yield whether the layers keep to the pattern that was asked for."""
    if inspection.pattern is None:
        return
    missed = [row.name for row in inspection.layers if not row.is_met]
    if not missed:
        yield f"all layers keep to {inspection.pattern}"
        return
    yield f"{len(missed)} of {len(inspection.layers)} layers do NOT keep to {inspection.pattern}:"
    yield from (f"  {name}" for name in missed)


def inspection_to_json(inspection: Inspection) -> str:
    """Return what was found as JSON; ``schema`` is the version of its form."""
    record = {"schema": SCHEMA, **dataclasses.asdict(inspection)}
    if inspection.pattern is not None:
        record["is_met"] = inspection.is_met
    return to_json(record)


def _head(inspection: Inspection) -> Text:
    facts = [
        f"opset {inspection.opset}",
        f"IR {inspection.ir_version}",
        f"by {inspection.producer}" if inspection.producer else "",
        format_bytes(inspection.file_bytes) if inspection.file_bytes else "",
    ]
    lines = [", ".join(filter(None, facts))]
    for word, values in (("inputs", inspection.inputs), ("outputs", inspection.outputs)):
        if values:
            lines.append(f"{word}: {', '.join(map(_value, values))}")
    if inspection.data is not None:
        lines.append(f"data: {range_words(inspection.data, inspection.ranges)}")
    if inspection.operators:
        counted = (f"{name} {n}" for name, n in inspection.operators.items())
        lines.append(f"operators: {', '.join(counted)}")
    return Text.assemble((inspection.model, "bold"), "\n", "\n".join(lines))


def _value(value: ValueRow) -> str:
    """Return an input or output in words; open sizes without a name are ?."""
    if value.shape is None:
        return f"{value.name} {value.dtype}"
    sizes = "x".join("?" if size is None else str(size) for size in value.shape)
    return f"{value.name} {value.dtype} {sizes or 'scalar'}"


def _layer_table(layers: Sequence[LayerRow]) -> Table:
    """Return one row per layer; columns that say the same of all are left out."""
    has_types = len({row.dtype for row in layers}) > 1
    optional = {
        "dtype": has_types,
        "work": any(row.multiplications is not None for row in layers),
        "uses": any(row.uses > 1 for row in layers),
        "keeps to": any(row.patterns for row in layers),
    }
    table = plain_table("prunable layers")
    table.add_column("layer", min_width=Name.least)
    for heading in ("op", "shape", *(("dtype",) if has_types else ())):
        table.add_column(heading, no_wrap=True)
    for heading in ("matrix", "weights", "zeros", "work", "uses"):
        if optional.get(heading, True):
            table.add_column(heading, justify="right", no_wrap=True)
    if optional["keeps to"]:
        table.add_column("keeps to")
    names = [row.name for row in layers]
    for row in layers:
        groups = (row.groups,) if row.groups > 1 else ()
        work = "" if row.multiplications is None else format_count(row.multiplications)
        table.add_row(
            Name(row.name, names),
            row.op,
            _times(row.shape),
            *([row.dtype] if has_types else []),
            _times((*groups, row.rows, row.columns)),
            f"{row.weights:,}",
            format_percent(row.zeros, row.weights),
            *([work] if optional["work"] else []),
            *([f"{row.uses}"] if optional["uses"] else []),
            *([" ".join(row.patterns)] if optional["keeps to"] else []),
        )
    return table


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
