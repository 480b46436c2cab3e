"""Shows what C files take and cost, as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from onnx_lobs.report.c_export import CRecord
from onnx_lobs.report.numbers import format_error
from onnx_lobs.report.parts import fact_grid, warning_panel
from onnx_lobs.report.summary import FIT_COLOURS


def render_c_export(record: CRecord) -> RenderableType:
    """Return a record of C files as a renderable that fits 80 columns and more."""
    return Group(fact_grid(_rows(record)), *warning_panel(record.warnings), *_last(record))


def _rows(record: CRecord) -> Iterator[tuple[str, str | Text]]:
    yield "model", record.model
    source = f"{record.samples:,} samples of {record.data}"
    yield "values", "float32" if record.values == "fp32" else f"int8, grids from {source}"
    tables = f"{record.table_bytes:,} B of tables and at most about {record.code_bytes:,} B of code"
    yield "flash", f"{record.flash_bytes:,} B: {tables} (Cortex-M4, -O2)"
    io = f"the caller holds {record.io_bytes:,} B of inputs and outputs"
    yield "RAM", f"{record.ram_bytes:,} B, static; {io}"
    yield "multiplications", f"{record.multiplications:,} by weights that are not zero"
    if record.agreement is not None:
        found = record.agreement
        words = f"{format_error(found.error)} (mean squared change over mean square)"
        if found.same_class is not None:
            words += f"; the largest output is the same in {100 * found.same_class:.1f} %"
        yield "output error", f"{words}, of int8 against float32 on {found.samples} samples"
    if record.chip is not None and record.fit is not None:
        room = [
            f"{word} {needed:,} of {there:,} B ({100 * needed / there:.0f} %)"
            for word, needed, there in (
                ("flash", record.flash_bytes, record.chip.flash),
                ("RAM", record.ram_bytes, record.chip.ram),
            )
            if there is not None
        ]
        words = f"{record.fit.value} on {record.chip.name}: {', '.join(room)}"
        yield "fit", Text(words, FIT_COLOURS[record.fit.value])


def _last(record: CRecord) -> Iterator[Text]:
    yield Text(f"\nwritten to {record.folder}: {', '.join(record.files)}")
    name = record.files[0].removesuffix(".c")
    yield Text(
        f"check it on this machine: cc -std=c99 -O2 {name}.c {name}_check.c -lm -o check && ./check"
    )
