"""The evaluation on the terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from onnx_lobs.evaluation.output import OutputChange
from onnx_lobs.options.limits import Limits
from onnx_lobs.report.evaluation import Evaluation, SideRecord
from onnx_lobs.report.evaluation_text import render_evaluation
from onnx_lobs.report.record import ScoreRecord

LONG = "/model/decoder/layers.11/final_layer_norm/output_projection/Add_output"
EVALUATION = Evaluation(
    dense=SideRecord("m.onnx", 1000, 0, 5000),
    pruned=SideRecord("m_pruned.onnx", 1000, 900, 500),
    data="test.npz (500 samples)",
    samples=500,
    error=0.0123,
    outputs=(
        OutputChange("logits", (32, 10), 0.0123, 0.9934, 0.99999, 0.5, 12.0),
        OutputChange(LONG, (32, 8, 7, 7), note="its shape changed"),
    ),
    scores=(
        ScoreRecord("top1", 0.98, 0.97, 0.01, 0.006, 0.008, 0.004, 500, True),
        ScoreRecord("s.py:f1", 0.5, 0.25, 0.25),
        ScoreRecord("agreement", 1.0, 1.0, 0.0, is_fraction=True),
    ),
    file_bytes=(4000, 4000),
    gzip_bytes=(3600, 900),
    limits=Limits(),
    seconds=1.25,
)


def rendered(evaluation: Evaluation, width: int = 100) -> str:
    console = Console(
        width=width, force_terminal=True, color_system=None, highlight=False, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(render_evaluation(evaluation))
    return capture.get()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal_and_every_output_has_a_row(width: int) -> None:
    lines = rendered(EVALUATION, width).splitlines()
    assert max(map(len, lines)) <= width
    (row,) = [line.split() for line in lines if line.startswith("logits")]
    assert row == ["logits", "32x10", "0.0123", "0.993400", "99.99", "%", "0.500", "12.0"]
    assert any("output" in line and "32x8x7x7" in line for line in lines)


def test_models_scores_zeros_and_sizes_are_named() -> None:
    text = " ".join(rendered(EVALUATION, 120).split())
    assert "dense model m.onnx pruned model m_pruned.onnx compared on test.npz" in text
    assert "output error 0.0123 (mean squared change over mean square)" in text
    assert (
        "top-1 score 98.00 ± 0.60 % -> 97.00 ± 0.80 % (-1.00 ± 0.40 points on 500 samples)" in text
    )
    assert "s.py:f1 0.5000 -> 0.2500 (-0.2500)" in text
    assert "agreement 100.00 % -> 100.00 % (+0.00 points)" in text
    assert "zeros 0 of 1,000 (0.0 %) -> 900 of 1,000 (90.0 %)" in text
    assert "multiplications 5,000 -> 500 a sample, by weights that are not zero, 10x fewer" in text
    assert "file, gzipped 3.60 kB -> 900 B (4.00x smaller)" in text
    assert "limit" not in text
    unknown = replace(EVALUATION, dense=SideRecord("m.onnx", 1000, 0))
    assert "multiplications" not in rendered(unknown)
    assert "missed" not in text


def test_warnings_and_limits_are_told() -> None:
    met = replace(EVALUATION, limits=Limits(max_drop=0.01), warnings=("output 'b': NaN",))
    text = rendered(met)
    assert "all limits are met" in text
    assert "output 'b': NaN" in text
    missed = replace(EVALUATION, limits=Limits(max_drop=0.005, max_output_error=0.01))
    text = rendered(missed)
    assert "missed: the output error is 0.0123, more than 0.01" in text
    assert "missed: score top1 drops by 0.0100 ± 0.0040, more than 0.005" in text
    assert "all limits" not in text


def test_a_drop_that_is_the_limit_but_for_rounding_meets_it() -> None:
    score = ScoreRecord("top1", 0.98, 0.97, 0.98 - 0.97)
    assert score.drop > 0.01
    assert replace(EVALUATION, scores=(score,), limits=Limits(max_drop=0.01)).missed == ()


def test_a_model_without_prunable_weights_has_no_sparsity() -> None:
    assert SideRecord("m", 0, 0).sparsity == 0.0
