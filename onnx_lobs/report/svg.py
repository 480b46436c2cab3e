"""Draws line charts and bar charts as SVG, for files of their own and for pages.

Text takes the colour of its surroundings; a file of its own follows the light or dark scheme of
what shows it. Lines differ by dashes and marks as well as by colour.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from onnx_lobs.report.axis import Axis, even_axis, log_axis
from onnx_lobs.report.numbers import shorten

_WIDTH, _HEIGHT = 640, 400  # user units, about pixels
_TOP, _RIGHT, _BOTTOM, _LEFT = 40, 20, 56, 72  # around the plot
_LEGEND_ROW, _BAR_ROW, _LABEL_WIDTH = 20, 22, 200
_LETTER = 7  # the width of a letter of 12 units, at most
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#8a63d2", "#7f7f7f")
_DASHES = ("none", "7 3", "2 3", "9 3 2 3")
_STYLE = f"""<style>
.lobs-chart {{ font: 12px system-ui, sans-serif; max-width: 100%; height: auto }}
.lobs-chart text {{ fill: currentColor }}
.lobs-chart .title {{ font-size: 14px; font-weight: 600 }}
.lobs-chart .axis {{ stroke: currentColor; fill: none }}
.lobs-chart .grid {{ stroke: currentColor; opacity: .15 }}
.lobs-chart .line {{ fill: none; stroke-width: 2 }}
{chr(10).join(f".lobs-chart .s{i} {{ stroke: {c}; fill: {c} }}" for i, c in enumerate(_COLORS))}
.lobs-chart .line {{ fill: none }}
@media (prefers-color-scheme: dark) {{ .lobs-chart:root {{ color: #ddd; background: #16181c }} }}
</style>"""


@dataclass(frozen=True)
class Series:
    """Holds one line of a chart: its name in the legend, and its points (x, y)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Labels:
    """Holds what stands around a chart: title, a sentence on what it shows, names of the axes."""

    title: str
    description: str
    x: str = ""
    y: str = ""


def line_chart(
    series: Sequence[Series],
    labels: Labels,
    *,
    is_log: bool = False,
    x_text: Callable[[float], str] = "{:g}".format,
    y_text: Callable[[float], str] = "{:g}".format,
) -> str:
    """Return a chart of lines with marks, axes and a legend.

    Parameters
    ----------
    series
        The lines. Points that are not finite, or on a logarithmic axis not positive, have no
        place; the description says how many were left out.
    labels
        What stands around it, as plain text.
    is_log
        Whether the y axis is logarithmic.
    x_text, y_text
        Return the words for the value of a tick.

    Returns
    -------
    str
        An ``<svg>`` element, which needs nothing else: for a page as it is, or for a file.
    """
    x_axis = even_axis(x for one in series for x, _ in one.points)
    y_axis = (log_axis if is_log else even_axis)(y for one in series for _, y in one.points)
    legend, height = _legend([one.name for one in series])
    plot = _Plot(x_axis, y_axis, _LEFT, _TOP, _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM)
    body = [
        *plot.frame(labels, x_text, y_text),
        *(part for i, one in enumerate(series) for part in plot.line(i, one)),
        f'<g transform="translate(0 {_HEIGHT})">{legend}</g>' if height else "",
    ]
    n_out = sum(not plot.can_show(point) for one in series for point in one.points)
    more = f" {n_out} points without a place on the axes are left out." if n_out else ""
    return _svg(_HEIGHT + height, labels.title, labels.description + more, body)


def bar_chart(
    bars: Sequence[tuple[str, float]],
    labels: Labels,
    *,
    text: Callable[[float], str] = "{:g}".format,
) -> str:
    """Return a chart of lying bars, one under the other, each with its name and its value.

    Parameters
    ----------
    bars
        The name and the value of each, from the top. A value that is not finite has no bar.
    labels
        What stands around it; ``labels.y`` is not shown.
    text
        Returns the words for a value.

    Returns
    -------
    str
        An ``<svg>`` element, as :func:`line_chart` gives.
    """
    axis = even_axis((value for _, value in bars), from_zero=True)
    width = _WIDTH - _LABEL_WIDTH - 3 * _RIGHT
    zero = _LABEL_WIDTH + width * axis.at(0.0)
    body = []
    for row, (name, value) in enumerate(bars):
        y = _TOP + row * _BAR_ROW
        at = _LABEL_WIDTH + width * axis.at(value) if math.isfinite(value) else zero
        label = _text(_LABEL_WIDTH - 6, y + 14, shorten(name, _LABEL_WIDTH // _LETTER), "end")
        body += [
            f"<g><title>{escape(name)}: {escape(text(value))}</title>",
            label,
            f'<rect class="s0" x="{_n(min(at, zero))}" y="{y + 3}" width="{_n(abs(at - zero))}"'
            f' height="{_BAR_ROW - 8}"/>',
            _text(max(at, zero) + 4, y + 14, text(value), "start"),
            "</g>",
        ]
    end = _TOP + len(bars) * _BAR_ROW
    body.append(f'<path class="axis" d="M{_n(zero)} {_TOP}V{end}"/>')
    body.append(_text(_LABEL_WIDTH + width / 2, end + 20, labels.x))
    return _svg(end + 32, labels.title, labels.description, body)


@dataclass(frozen=True)
class _Plot:
    """Two axes, and the rectangle between them in user units."""

    x: Axis
    y: Axis
    left: float
    top: float
    width: float
    height: float

    def can_show(self, point: tuple[float, float]) -> bool:
        return self.x.can_show(point[0]) and self.y.can_show(point[1])

    def at(self, x: float, y: float) -> tuple[float, float]:
        below = self.top + self.height
        return self.left + self.width * self.x.at(x), below - self.height * self.y.at(y)

    def frame(
        self, labels: Labels, x_text: Callable[[float], str], y_text: Callable[[float], str]
    ) -> Iterator[str]:
        """Yield grid lines, ticks, the axes and their names."""
        right, below = self.left + self.width, self.top + self.height
        for tick in self.y.ticks:
            y = self.at(self.x.low, tick)[1]
            yield f'<path class="grid" d="M{_n(self.left)} {_n(y)}H{_n(right)}"/>'
            yield _text(self.left - 8, y + 4, y_text(tick), "end")
        for tick in self.x.ticks:
            x = self.at(tick, self.y.low)[0]
            yield f'<path class="grid" d="M{_n(x)} {_n(self.top)}V{_n(below)}"/>'
            yield _text(x, below + 18, x_text(tick))
        yield f'<path class="axis" d="M{_n(self.left)} {_n(self.top)}V{_n(below)}H{_n(right)}"/>'
        yield _text(self.left + self.width / 2, below + 40, labels.x)
        middle = self.top + self.height / 2
        yield f'<g transform="rotate(-90 16 {_n(middle)})">{_text(16, middle, labels.y)}</g>'

    def line(self, index: int, series: Series) -> Iterator[str]:
        """Yield the line through the points that have a place, and a mark at each."""
        places = [self.at(*point) for point in sorted(series.points) if self.can_show(point)]
        if not places:
            return
        path = "L".join(f"{_n(x)} {_n(y)}" for x, y in places)
        dash = _DASHES[index % len(_DASHES)]
        yield f"<g><title>{escape(series.name)}</title>"
        yield f'<path class="line {_color(index)}" stroke-dasharray="{dash}" d="M{path}"/>'
        yield from (_mark(index, x, y) for x, y in places)
        yield "</g>"


def _legend(names: Sequence[str]) -> tuple[str, int]:
    """Return the names beside pieces of their lines, and the height; none for a single line."""
    if len(names) < 2:
        return "", 0
    x, y, parts = _LEFT, 0, []
    for index, name in enumerate(names):
        shown = shorten(name, (_WIDTH - _LEFT - 60) // _LETTER)
        width = 52 + _LETTER * len(shown)
        if x > _LEFT and x + width > _WIDTH:
            x, y = _LEFT, y + _LEGEND_ROW
        dash = _DASHES[index % len(_DASHES)]
        line = f'<path class="line {_color(index)}" stroke-dasharray="{dash}" d="M{x} {y}h28"/>'
        parts.append(line + _mark(index, x + 14, y) + _text(x + 34, y + 4, shown, "start"))
        x += width
    return "".join(parts), y + _LEGEND_ROW


def _color(index: int) -> str:
    return f"s{index % len(_COLORS)}"


def _mark(index: int, x: float, y: float) -> str:
    """Return the mark of a line at a place: a disc, a square, a diamond or a triangle."""
    shapes = ("m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z", "m-3-3h6v6h-6z", "m0-4l4 4l-4 4l-4-4z",
              "m0-4l4 7h-8z")  # fmt: skip
    return f'<path class="{_color(index)}" d="M{_n(x)} {_n(y)}{shapes[index % len(shapes)]}"/>'


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    if not words:
        return ""
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(words)}</text>'


def _n(value: float) -> str:
    """Return a coordinate with as few digits as do."""
    return f"{value:.1f}".removesuffix(".0")


def _svg(height: float, title: str, description: str, body: Iterable[str]) -> str:
    """Return the whole element; its names are those of no other chart on a page."""
    inside = "\n".join(filter(None, body))
    name = f"chart-{zlib.crc32((title + description + inside).encode()):08x}"
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lobs-chart" width="{_WIDTH}" '
        f'height="{_n(height)}" viewBox="0 0 {_WIDTH} {_n(height)}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">',
        f'<title id="{name}-title">{escape(title)}</title>',
        f'<desc id="{name}-desc">{escape(description)}</desc>',
        _STYLE,
        f'<text class="title" x="{_LEFT}" y="22">{escape(title)}</text>',
        inside,
        "</svg>",
    ))  # fmt: skip
