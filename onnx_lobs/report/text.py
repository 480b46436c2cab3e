"""A report as text for the terminal: rich renderables, made from the record alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnx_lobs.report.channels import channel_tables
from onnx_lobs.report.command import typed
from onnx_lobs.report.numbers import format_error, format_gain, format_percent
from onnx_lobs.report.parts import fact_grid, warning_panel
from onnx_lobs.report.record import AdviceRecord, LayerRecord, Report
from onnx_lobs.report.skips import skip_table
from onnx_lobs.report.summary import summary_rows
from onnx_lobs.report.table import Name, plain_table
from onnx_lobs.storage.formats import FORMATS
from onnx_lobs.storage.values import VALUES

_STATUS_WIDTH = 8  # characters; longer ones take two lines


def render_report(report: Report, *, verbose: bool = False) -> RenderableType:
    """Return the report as a renderable that fits 80 columns and more.

    Parameters
    ----------
    report
        The record of a run. Not modified.
    verbose
        Whether every skipped node is listed, rather than groups of them where they are many.

    Returns
    -------
    RenderableType
        Layers, skipped nodes, totals, warnings, and what to make of it, for rich to print.
    """
    parts: list[RenderableType] = [layer_table(report.layers), *_remedies(report.layers)]
    for table in channel_tables(report.channels):
        parts += ["", table]
    if report.skipped:
        parts += ["", skip_table(report.skipped, verbose=verbose)]
    parts += ["", fact_grid(summary_rows(report)), *warning_panel(report.warnings)]
    if report.output_path is not None:
        place = Text.assemble("written to ", (report.output_path, "bold"), overflow="fold")
        parts += ["", place, *(Text(f"note: {text}", "dim") for text in _hints(report) if text)]
    for advice in report.advice:
        parts += ["", Text(f"next: {advice.text}:"), _typed(advice)]
    return Group(*parts)


def _hints(report: Report) -> tuple[str, str]:
    """Return what to know of the values and the format of the file."""
    storage = str(report.options.get("storage") or "dense")
    values = VALUES[str(report.options.get("values", "fp32"))].hint
    target = None if report.deploy is None else report.deploy.target
    if target == "c":  # the file beside it is not what runs
        return "", ""
    # what is gone takes no space in any form, and a target says itself what zeros buy there
    is_told = not report.has_zeros or (storage == "dense" and target is not None)
    return values, "" if is_told else FORMATS[storage].hint


def _typed(advice: AdviceRecord) -> Text:
    """Return a command as it is typed."""
    return Text(f"  {typed(advice.command)}", "bold", no_wrap=True, overflow="ignore")


def layer_table(layers: Sequence[LayerRecord]) -> Table:
    """Return one row per layer: how many zeros, what they cost, what magnitude's would have.

    And, where it was predicted, what the layer's error does to the network's outputs.
    """
    table = plain_table("pruned layers")
    table.add_column("layer", min_width=Name.least)
    table.add_column("op", no_wrap=True)
    for heading in ("weights", "zeros", "error", "magni-\ntude's", "times\nbetter"):
        table.add_column(heading, justify="right", no_wrap=True)
    is_predicted = any(layer.first_order is not None for layer in layers)
    if is_predicted:
        table.add_column("first\norder", justify="right", no_wrap=True)
    table.add_column("status", max_width=_STATUS_WIDTH)
    table.add_column("s", justify="right", no_wrap=True)
    names = [layer.name for layer in layers]
    for layer in layers:
        worse = layer.error > layer.magnitude_error
        table.add_row(
            Name(layer.name, names),
            layer.op,
            f"{layer.weights:,}",
            format_percent(layer.zeros, layer.weights),
            format_error(layer.error),
            format_error(layer.magnitude_error),
            Text(format_gain(layer.error, layer.magnitude_error), "yellow" if worse else ""),
            *([_predicted(layer)] if is_predicted else []),
            Text(layer.status, "yellow" if layer.remedy else ""),
            f"{layer.seconds:.1f}",
        )
    return table


def _predicted(layer: LayerRecord) -> str:
    return "-" if layer.first_order is None else format_error(layer.first_order)


def _remedies(layers: Sequence[LayerRecord]) -> Iterator[Text]:
    return (Text(line, "yellow") for line in layer_remedies(layers))


def layer_remedies(layers: Sequence[LayerRecord]) -> Iterator[str]:
    """Say once per status what can be done about it."""
    counts = Counter((layer.status, layer.remedy) for layer in layers if layer.remedy)
    for (status, remedy), count in counts.items():
        layers_word = "layer" if count == 1 else "layers"
        yield f"{status} ({count} {layers_word}): {remedy}"


def report_warnings(report: Report) -> Iterator[str]:
    """Yield the warnings of a run, and what can be done about layers that did not go well."""
    yield from report.warnings
    yield from layer_remedies(report.layers)
