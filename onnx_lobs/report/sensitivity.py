"""Records how errors and the score depend on sparsity, and shows it as text, JSON and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnx_lobs.report.numbers import format_error, percent
from onnx_lobs.report.parts import warning_panel
from onnx_lobs.report.several_runs import SeveralRuns
from onnx_lobs.report.svg import Labels, Series, line_chart
from onnx_lobs.report.table import Name, plain_table

MOST_LINES = 6  # layers in a plot: those that matter most, beside the network


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer, that alone is pruned.

    ``sensitivity`` is the output error over the layer's own error, measured at one sparsity;
    ``layer_errors`` and ``output_errors`` are by sparsity, the latter the former times it.
    """

    name: str
    weights: int
    sensitivity: float
    layer_errors: tuple[float, ...]
    output_errors: tuple[float, ...]


@dataclass(frozen=True)
class NetworkSensitivity:
    """The whole network, pruned by quick trials: output errors and scores by sparsity.

    ``allocation`` says how its zeros are shared; ``scores`` are empty without test data.
    """

    allocation: str
    output_errors: tuple[float, ...]
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sensitivity(SeveralRuns):
    """How errors and the score depend on sparsity."""

    sparsities: tuple[float, ...]
    layers: tuple[LayerSensitivity, ...]
    networks: tuple[NetworkSensitivity, ...]


def render_sensitivity(record: Sensitivity) -> RenderableType:
    """Return the record as a renderable: layers, the network, warnings."""
    parts: list[RenderableType] = [_layer_table(record), "", _network_table(record)]
    parts += ["", Text(f"measured on {record.data}, {record.seconds:.1f} s")]
    return Group(*parts, *warning_panel(record.warnings))


def _layer_table(record: Sensitivity) -> Table:
    """Return one row per layer, the most sensitive first."""
    table = plain_table("output error with one layer pruned")
    table.add_column("layer", min_width=Name.least)
    for heading in ("weights", *map(percent, record.sparsities)):
        table.add_column(heading, justify="right", no_wrap=True)
    names = [layer.name for layer in record.layers]
    for layer in by_harm(record):
        errors = map(format_error, layer.output_errors)
        table.add_row(Name(layer.name, names), f"{layer.weights:,}", *errors)
    return table


def _network_table(record: Sensitivity) -> Table:
    table = plain_table("the whole network, by quick trials: a run's own error is lower")
    for heading in ("zeros shared", "", *map(percent, record.sparsities)):
        table.add_column(heading, justify="right" if "%" in heading else "left", no_wrap=True)
    for network in record.networks:
        table.add_row(network.allocation, "output error", *map(format_error, network.output_errors))
        if network.scores:
            table.add_row("", str(record.score), *map(record.score_words, network.scores))
    if record.dense_score is not None:
        table.add_row("dense model", str(record.score), record.score_words(record.dense_score))
    return table


def by_harm(record: Sensitivity) -> list[LayerSensitivity]:
    """Return the layers, the one first that does most to the outputs at the largest sparsity."""
    return sorted(record.layers, key=lambda layer: -layer.output_errors[-1])


def plot_sensitivity(record: Sensitivity) -> str:
    """Return an SVG: the network's output errors, and those of the worst layers alone."""
    lines = [
        Series(name, tuple(zip(record.sparsities, errors, strict=True)))
        for name, errors in _lines(record)
    ]
    labels = Labels(
        "Output error against sparsity",
        f"Relative output error of {record.model} when all layers, or one alone, are pruned.",
        "sparsity",
        "output error",
    )
    return line_chart(lines, labels, is_log=True, x_text=percent)


def _lines(record: Sensitivity) -> Iterator[tuple[str, Sequence[float]]]:
    for network in record.networks:
        yield f"all layers, {network.allocation}", network.output_errors
    for layer in by_harm(record)[:MOST_LINES]:
        yield layer.name, layer.output_errors
