"""Charts are well-formed SVG with what they are given in it, at the right places."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from onnx_lobs.report.svg import Labels, Series, bar_chart, line_chart

SVG = "{http://www.w3.org/2000/svg}"
LABELS = Labels("Error & <sparsity>", "What the error does.", "sparsity", "error")
LINES = (
    Series("joint", ((0.5, 0.01), (0.7, 0.1), (0.9, 1.0))),
    Series("a<b>", ((0.5, 0.02), (0.9, 0.5))),
)


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lines(svg: str) -> list[list[tuple[float, float]]]:
    """Return the points of each line of a chart, without those of the legend."""
    nodes = ElementTree.fromstring(svg).iter(f"{SVG}path")
    drawn = [n.attrib["d"] for n in nodes if "line" in n.attrib["class"] and "L" in n.attrib["d"]]
    return [[tuple(map(float, p.split())) for p in d[1:].split("L")] for d in drawn]  # type: ignore[misc]


def test_title_legend_and_axes_are_named() -> None:
    assert {"Error & <sparsity>", "sparsity", "error", "joint", "a<b>"} <= set(
        texts(line_chart(LINES, LABELS))
    )


def test_a_chart_has_a_name_and_a_description_for_those_who_do_not_see_it() -> None:
    root = ElementTree.fromstring(line_chart(LINES, LABELS))
    named = {node.attrib.get("id"): node.text for node in root}
    assert [named[name] for name in root.attrib["aria-labelledby"].split()] == [
        LABELS.title,
        LABELS.description,
    ]


def test_larger_values_stand_higher_and_further_right() -> None:
    first = lines(line_chart(LINES, LABELS, is_log=True))[0]
    (x0, y0), (x1, y1), (x2, y2) = first
    assert x0 < x1 < x2
    assert y0 > y1 > y2
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.11)  # one power of ten each; one decimal


def test_points_without_a_place_are_left_out_and_counted() -> None:
    broken = Series("b", ((0.5, 0.0), (0.6, math.nan), (0.7, 0.1), (0.8, 0.2)))
    svg = line_chart((broken,), LABELS, is_log=True)
    assert len(lines(svg)[0]) == 2
    assert "2 points without a place on the axes are left out." in svg


def test_ticks_have_the_words_that_are_wanted() -> None:
    assert "50 %" in texts(line_chart(LINES, LABELS, x_text=lambda x: f"{100 * x:.0f} %"))


def test_a_single_line_has_no_legend() -> None:
    assert "joint" not in texts(line_chart(LINES[:1], LABELS))


def test_two_charts_of_a_page_have_names_of_their_own() -> None:
    one, other = (line_chart(LINES[:n], LABELS) for n in (1, 2))
    names = [ElementTree.fromstring(svg).attrib["aria-labelledby"] for svg in (one, other)]
    assert names[0] != names[1]


def test_the_length_of_bars_is_their_value() -> None:
    svg = bar_chart([("a", 1.0), ("b", 0.5), ("c", -0.5), ("d", math.nan)], LABELS)
    rects = list(ElementTree.fromstring(svg).iter(f"{SVG}rect"))
    widths = [float(rect.attrib["width"]) for rect in rects]
    assert widths[1] == pytest.approx(widths[0] / 2, abs=0.11)  # one decimal
    assert widths[2] == pytest.approx(widths[1], abs=0.11)
    assert widths[3] == 0
    assert float(rects[2].attrib["x"]) < float(rects[0].attrib["x"])


def test_a_chart_follows_light_and_dark_and_loads_nothing() -> None:
    svg = line_chart(LINES, LABELS)
    assert "currentColor" in svg
    assert "prefers-color-scheme: dark" in svg
    assert "href" not in svg
