"""What is said of a whole run."""

from __future__ import annotations

import dataclasses
import re

import pytest
from shown_report import REPORT, rendered, with_, words

from onnx_lobs.report.record import CorrectionRecord, JudgedValue, OutputRecord, ScoreRecord, Totals
from onnx_lobs.report.text import render_report

RED = "\x1b[1;31m"


def test_totals_name_sizes_factors_and_score_with_its_standard_error() -> None:
    text = words(render_report(REPORT))
    assert "zeros 1,148,736 of 1,235,200 weights (93.0 %)" in text
    assert "file 5.00 MB -> 5.00 MB (same size)" in text
    assert "file, gzipped 4.60 MB -> 500 kB (9.20x smaller)" in text
    assert "output error 0.0123 " in text
    assert "98.38 ± 0.13 % -> 98.10 ± 0.14 % (-0.28 ± 0.06 points on 10,000 samples)" in text
    assert "time 14.2 s" in text
    assert "compiled" not in text
    compiled = words(render_report(with_(loops="numba 0.60")))
    assert "time 14.2 s, loops compiled by numba 0.60" in compiled


def test_what_was_not_measured_is_not_shown() -> None:
    text = words(render_report(with_(totals=Totals(1, 0, 0.0), output=OutputRecord(None))))
    assert "gzipped" not in text
    assert "top-1" not in text
    assert "output error none: the network has no floating output" in text
    lost = with_(output=OutputRecord(None, notes=("output 'y': NaN",)))
    assert "output error none: see the warnings" in words(render_report(lost))


def test_what_was_corrected_is_a_line_and_nothing_is_none() -> None:
    done = CorrectionRecord(52, "mean and variance", 34, 1, 0.25, 0.125)
    text = words(render_report(dataclasses.replace(REPORT, correction=done)))
    assert "mean and variance behind 1 layer and 34 normalisations" in text
    assert "(held-out output error 0.250 -> 0.125)" in text
    for nothing in (None, CorrectionRecord(52, before=0.25)):
        text = words(render_report(dataclasses.replace(REPORT, correction=nothing)))
        assert "corrected" not in text


def test_the_report_says_what_was_judged_in_front_of_an_activation() -> None:
    judged = (JudgedValue("y", "logits", "Softmax"),)
    text = rendered(render_report(with_(output=OutputRecord(0.1, judged=judged))))
    assert re.search(r"judged by +logits, in front of the final Softmax", text)
    assert "judged by" not in rendered(render_report(REPORT))


@pytest.mark.parametrize(
    ("after", "error", "is_red"), [(0.5, 0.01, True), (0.97, 0.001, False), (0.5, 0.3, False)]
)
def test_a_score_that_collapsed_is_red(after: float, error: float, is_red: bool) -> None:
    """By more than a fifth of it, and more than chance does."""
    score = ScoreRecord("top1", 0.99, after, 0.99 - after, drop_error=error, n=99, is_fraction=True)
    text = rendered(render_report(with_(output=OutputRecord(0.1, score=score))), color=True)
    assert (RED in text) == is_red
