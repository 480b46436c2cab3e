"""Draws the charts of a page: zeros and error of each layer, and how the search went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx_lobs.report.axis import Axis, log_axis
from onnx_lobs.report.html.figures import Bar, bars_chart
from onnx_lobs.report.html.markup import Drawn
from onnx_lobs.report.numbers import format_error, format_percent
from onnx_lobs.report.record import AllocationRecord, LayerRecord, TargetRecord
from onnx_lobs.report.svg import Labels, Series, bar_chart, line_chart
from onnx_lobs.report.words import MEASURES

_SHARES = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))
_ROOM = 1e6  # errors smaller than the largest by more than this are nothing


def zeros_chart(layers: Sequence[LayerRecord]) -> Drawn:
    """Return a bar for each layer: its share of zeros."""
    bars = [
        Bar(f"{layer.name}: {format_percent(layer.zeros, layer.weights)}", layer.sparsity)
        for layer in layers
    ]
    words = [f"{100 * tick:g} %" for tick in _SHARES.ticks]
    return bars_chart(bars, _SHARES, words, "Zeros of each layer", "layer")


def errors_chart(layers: Sequence[LayerRecord]) -> Drawn:
    """Return a dot for each layer, its error, and a dash where magnitude's stands."""
    values = [x for layer in layers for x in (layer.error, layer.magnitude_error)]
    axis = log_axis(value for value in values if value > max(values) / _ROOM)
    bars = [
        Bar(
            f"{layer.name}: {format_error(layer.error)}, magnitude's "
            f"{format_error(layer.magnitude_error)}",
            layer.error,
            layer.magnitude_error,
        )
        for layer in layers
    ]
    words = [f"{tick:g}" for tick in axis.ticks]
    return bars_chart(bars, axis, words, "Error of each layer", "layer", dots=True)


def search_charts(target: TargetRecord | None, allocation: AllocationRecord | None) -> list[Drawn]:
    """Return the curves of the search for a target, and the trials of allocations, if any."""
    return [*_target_charts(target), *_trial_charts(allocation)]


def _target_charts(target: TargetRecord | None) -> Iterator[Drawn]:
    if target is None or len(target.runs) < 2:
        return
    for name, limit in target.limits.items():
        title, words = MEASURES[name]
        points = tuple(sorted((run["sparsity"], run[name]) for run in target.runs if name in run))
        if len(points) < 2:
            continue
        ends = points[0][0], points[-1][0]
        series = Series("measured", points), Series("limit", tuple((x, limit) for x in ends))
        text = f"{title} at each sparsity that was tried, beside its limit of {words(limit)}."
        labels = Labels(f"{title} against sparsity", text, "sparsity")
        yield Drawn(line_chart(series, labels, x_text="{:.3g}".format, y_text=words))


def _trial_charts(allocation: AllocationRecord | None) -> Iterator[Drawn]:
    if allocation is None or len(allocation.losses) < 2:
        return
    labels = Labels(
        "Trials of how zeros are shared",
        f"Losses of quick runs, of which {allocation.chosen} was chosen.",
        "loss, lower is better",
    )
    bars = sorted(allocation.losses.items(), key=lambda entry: entry[1])
    yield Drawn(bar_chart(bars, labels, text=format_error))
