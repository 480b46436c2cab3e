"""Figures are well-formed SVG, with bars, dots and steps at the right heights."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from onnx_lobs.report.axis import Axis
from onnx_lobs.report.html.charts import errors_chart, search_charts, zeros_chart
from onnx_lobs.report.html.figures import Bar, bars_chart, histogram_figure
from onnx_lobs.report.record import Histogram, LayerRecord, TargetRecord

AXIS = Axis(0.0, 1.0, (0.0, 1.0))
DIGIT = 0.06  # coordinates have one decimal
TOP, BELOW = 12.0, 170.0  # of a chart of bars's plot


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def found(svg: str, tag: str, kind: str = "") -> list[dict[str, str]]:
    return [n.attrib for n in parse(svg).iter(tag) if not kind or n.attrib.get("class") == kind]


def test_bars_stand_on_the_axis_and_end_at_their_values() -> None:
    bars = [Bar("a<b", 0.25), Bar("c", 1.0), Bar("d", math.nan), Bar("e", 2.0)]
    svg = bars_chart(bars, AXIS, ("0", "1"), "t & u", "layer")
    heights = [float(one["height"]) for one in found(svg, "rect", "bar")]
    full = BELOW - TOP
    assert heights == pytest.approx([full / 4, full, 0, full], abs=2 * DIGIT)
    for one in found(svg, "rect", "bar"):
        assert float(one["y"]) + float(one["height"]) == pytest.approx(BELOW, abs=2 * DIGIT)
    titles = [node.text for node in parse(svg).iter("title")]
    assert titles == ["a<b", "c", "d", "e"]


def test_dots_and_dashes_stand_at_their_values() -> None:
    svg = bars_chart([Bar("a", 0.5, 0.75)], AXIS, ("0", "1"), "t", "x", dots=True)
    (dot,), (dash,) = found(svg, "circle"), found(svg, "path", "mark")
    full = BELOW - TOP
    assert float(dot["cy"]) == pytest.approx(BELOW - full / 2, abs=DIGIT)
    y = float(dash["d"].split(" ")[1].split("h")[0])
    assert y == pytest.approx(BELOW - 3 * full / 4, abs=DIGIT)


def test_a_thousand_bars_have_a_few_numbers() -> None:
    svg = bars_chart([Bar("", 0.5)] * 1000, AXIS, ("0", "1"), "t", "layer")
    numbers = [node.text for node in parse(svg).iter("text")]
    assert numbers[2:4] == ["1", "64"]
    assert len(numbers) <= 2 + 16 + 1


def test_a_histogram_has_a_step_for_each_bin_as_high_as_the_root_of_its_count() -> None:
    svg = histogram_figure(Histogram(-1.0, 1.0, (4, 16), (1, 0)), "weights & more")
    (after,), (before,) = found(svg, "path", "after"), found(svg, "path", "before")
    assert before["d"] == "M0 64V33.0H120.0V2.0H240.0V64"
    assert after["d"] == "M0 64V48.5H120.0V64.0H240.0V64z"


def test_charts_of_layers_and_searches_are_well_formed() -> None:
    layers = [
        LayerRecord(f"l{i}<", "Conv", 10, i, 0.1 * i, math.inf, "solved", 0.0) for i in range(4)
    ]
    parse(zeros_chart(layers))
    parse(errors_chart(layers))
    runs = ({"sparsity": 0.5, "drop": 0.1}, {"sparsity": 0.6, "drop": 0.2})
    target = TargetRecord({"drop": 0.1}, True, 0.5, runs)
    assert len(search_charts(target, None)) == 1
    assert search_charts(None, None) == []
    assert search_charts(TargetRecord({"drop": 0.1}, True, 0.5, runs[:1]), None) == []
