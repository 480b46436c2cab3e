"""Warnings and facts on a terminal."""

from __future__ import annotations

from rich.text import Text
from shown_report import REPORT, rendered, with_

from onnx_lobs.report.parts import fact_grid
from onnx_lobs.report.text import render_report


def test_warnings_stand_in_a_yellow_panel() -> None:
    report = with_(warnings=("random inputs were used", "too few samples"))
    text = rendered(render_report(report), color=True)
    assert "\x1b[1;33m╭─" in text  # newer versions of rich colour the title too
    assert " 2 warnings " in text
    assert "random inputs were used" in text
    assert "─ warning ─" in rendered(render_report(with_(warnings=("one",))))
    assert "warning" not in rendered(render_report(REPORT))


def test_a_fact_that_is_too_long_is_folded_and_not_cut() -> None:
    long = "x" * 100
    for value in (long, Text(long)):
        text = rendered(fact_grid([("label", value)]), 80)
        assert text.startswith("label")
        assert text.count("x") == len(long)
