"""Draws the small figures of a page: bars by layer, histograms of weights, maps of zeros."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from onnx_lobs.report.axis import Axis
from onnx_lobs.report.html.markup import Drawn
from onnx_lobs.report.png import encode_shades
from onnx_lobs.report.record import Histogram, KeptMap

_WIDTH, _HEIGHT = 640, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 10, 12, 40
_MOST_NUMBERS = 16  # of layers, below the axis
_GAP = 0.25  # of a bar's room
_BINS_WIDTH, _BINS_HEIGHT = 240, 64
MAP_COLOR = (59, 143, 212)  # stands out from white and from nearly black


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: a name and a value in words, its height, and where a mark stands."""

    words: str
    value: float
    mark: float | None = None


def bars_chart(
    bars: Sequence[Bar],
    axis: Axis,
    tick_words: Sequence[str],
    title: str,
    x: str,
    *,
    dots: bool = False,
) -> Drawn:
    """Return a chart of standing bars, numbered from 1, which fits a thousand of them.

    Parameters
    ----------
    bars
        From the left. Values beyond the axis end there; those without a place have no bar.
    axis
        Of the values.
    tick_words
        For its ticks.
    title
        What the chart shows, for those who do not see it.
    x
        What the bars are.
    dots
        Whether each is a dot with a line to its mark: for an axis that does not begin at nothing.
    """
    room = (_WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    body = [*_grid(axis, tick_words), *_numbers(len(bars), room, x)]
    for index, bar in enumerate(bars):
        left = _LEFT + room * (index + _GAP / 2)
        body.append(_one_bar(bar, axis, left, room * (1 - _GAP), dots))
    return Drawn(
        f'<svg class="bars" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(body)}</svg>'
    )


def _one_bar(bar: Bar, axis: Axis, left: float, width: float, dots: bool) -> str:
    parts = [f"<g><title>{escape(bar.words)}</title>"]
    top = _y(axis.at(bar.value)) if axis.can_show(bar.value) else _y(0.0)
    mark = bar.mark is not None and axis.can_show(bar.mark)
    end = _y(axis.at(bar.mark)) if mark and bar.mark is not None else top
    if dots:
        middle = left + width / 2
        parts.append(f'<path class="stem" d="M{middle:.1f} {top:.1f}V{end:.1f}"/>')
        radius = min(max(width / 2, 1.5), 4.5)
        parts.append(f'<circle class="dot" cx="{middle:.1f}" cy="{top:.1f}" r="{radius:.1f}"/>')
    else:
        box = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{_y(0.0) - top:.1f}"'
        parts.append(f'<rect class="bar" {box}/>')
    if mark:
        wide = min(width, 24.0)
        start = left + (width - wide) / 2
        parts.append(f'<path class="mark" d="M{start:.1f} {end:.1f}h{wide:.1f}"/>')
    return "".join([*parts, "</g>"])


def _grid(axis: Axis, words: Sequence[str]) -> Iterator[str]:
    for tick, word in zip(axis.ticks, words, strict=True):
        y = _y(axis.at(tick))
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(word)}</text>'


def _numbers(n: int, room: float, x: str) -> Iterator[str]:
    """Yield the numbers of the bars, of every k-th where there are many."""
    step = math.ceil(n / _MOST_NUMBERS)
    for index in range(0, n, max(step, 1)):
        at = _LEFT + room * (index + 0.5)
        yield f'<text x="{at:.1f}" y="{_HEIGHT - 24}" text-anchor="middle">{index + 1}</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>'


def _y(share: float) -> float:
    height = _HEIGHT - _TOP - _BOTTOM
    return _TOP + height * (1 - min(max(share, 0.0), 1.0))


def histogram_figure(histogram: Histogram, title: str) -> Drawn:
    """Return the counts before as a line, and those after as an area, on one scale.

    Heights are square roots of counts, so that what is left of many weights is seen beside them.
    """
    highest = max(*histogram.before, *histogram.after, 1)
    before, after = (_steps(c, highest) for c in (histogram.before, histogram.after))
    return Drawn(
        f'<svg class="bins" viewBox="0 0 {_BINS_WIDTH} {_BINS_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(title)}"><path class="after" d="{after}V{_BINS_HEIGHT}z"/>'
        f'<path class="before" d="{before}V{_BINS_HEIGHT}"/></svg>'
    )


def _steps(counts: Sequence[int], highest: int) -> str:
    """Return a path from the left below, over the tops of the bins, to the right."""
    width = _BINS_WIDTH / len(counts)
    tops = (f"V{_BINS_HEIGHT - (_BINS_HEIGHT - 2) * math.sqrt(n / highest):.1f}" for n in counts)
    parts = (f"{top}H{width * (i + 1):.1f}" for i, top in enumerate(tops))
    return f"M0 {_BINS_HEIGHT}{''.join(parts)}"


def map_source(kept: KeptMap) -> str:
    """Return the address of a picture of a map: the more weights a cell kept, the more colour."""
    shares = np.frombuffer(kept.shares, np.uint8).reshape(kept.rows, kept.columns)
    return png_source(encode_shades(shares, MAP_COLOR))


def png_source(png: bytes) -> str:
    """Return a PNG as an address that holds all of it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
