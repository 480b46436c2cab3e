"""The report on the terminal."""

from __future__ import annotations

import dataclasses
import re

import pytest
from rich.console import Console, RenderableType

from onnx_lobs.report.inspection import render_inspection
from onnx_lobs.report.record import (
    CorrectionRecord,
    FileWeights,
    JudgedValue,
    LayerRecord,
    OutputRecord,
    Report,
    ScoreRecord,
    SkipRecord,
    Totals,
)
from onnx_lobs.report.skips import MOST_ROWS, group_skips
from onnx_lobs.report.text import render_report
from onnx_lobs.verbs.inspect import Inspection, LayerRow

LONG = "/model/encoder/layer.0/attention/self/query/MatMul"
LAYERS = (
    LayerRecord("/fc1/Gemm", "Gemm", 235_200, 218_736, 0.01234, 0.0789, "solved", 1.23),
    LayerRecord(LONG, "ConvTranspose", 1_000_000, 930_000, 1.2345e-5, 0.0456, "solved", 12.4),
)
REPORT = Report(
    model="m.onnx",
    options={"storage": "dense"},
    data="calibration.npz (5000 samples)",
    layers=LAYERS,
    skipped=(SkipRecord("/lstm", "LSTM", "its weights are not a matrix", "recurrent"),),
    totals=Totals(1_235_200, 1_148_736, 14.2, (5_000_000, 5_000_100), (4_600_000, 500_000)),
    output=OutputRecord(
        0.0123,
        0.0119,
        500,
        ScoreRecord("top1", 0.9838, 0.981, 0.0028, 0.00126, 0.00137, 0.0006, 10_000, True),
    ),
    output_path="m_pruned.onnx",
)
INSPECTION = Inspection(
    model="m.onnx",
    opset=17,
    ir_version=8,
    producer="pytorch 2.4",
    file_bytes=1_234_567,
    layers=(
        LayerRow("/conv/Conv", "Conv", (64, 1, 3, 3), "float32", 64, 1, 9, 576, 12, 1),
        LayerRow(LONG, "MatMul", (768, 768), "float16", 1, 768, 768, 589_824, 0, 1),
    ),
    skipped=(SkipRecord("/lstm", "LSTM", "its weights are not a matrix", "recurrent"),),
    weights=FileWeights(600_400, 590_400, {"recurrent": 9_000, "few weights": 1_000}),
)


def rendered(what: RenderableType, width: int = 100, *, color: bool = False) -> str:
    console = Console(
        width=width,
        force_terminal=True,  # a pipe gets whole names
        color_system="standard" if color else None,
        highlight=False,
        legacy_windows=False,
        no_color=False,
    )
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def words(what: RenderableType, width: int = 100) -> str:
    return " ".join(rendered(what, width).split())


def with_(**changes: object) -> Report:
    return dataclasses.replace(REPORT, **changes)  # type: ignore[arg-type]


def skips(
    n: int, reason: str = "{} weights, fewer than 64", kind: str = "few weights"
) -> tuple[SkipRecord, ...]:
    return tuple(SkipRecord(f"node{i}", "Conv", reason.format(i), kind) for i in range(n))


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("what", [render_report(REPORT), render_inspection(INSPECTION)])
def test_no_line_is_wider_than_the_terminal_and_the_end_of_a_name_stays(
    what: RenderableType, width: int
) -> None:
    text = rendered(what, width)
    assert max(map(len, text.splitlines())) <= width
    (row,) = [
        line for line in text.splitlines() if line.split()[:1] and "MatMul" in line.split()[0]
    ]
    assert row.split()[0].endswith("y/MatMul")


def test_a_row_holds_all_figures_of_its_layer() -> None:
    lines = rendered(render_report(REPORT)).splitlines()
    (row,) = [line.split() for line in lines if line.startswith("/fc1")]
    assert row == [
        *("/fc1/Gemm", "Gemm", "235,200", "93.0", "%", "0.0123", "0.0789", "6.4x", "solved"),
        "1.2",
    ]


def test_a_name_is_whole_where_there_is_room_and_never_markup() -> None:
    layer = dataclasses.replace(LAYERS[0], name="/a[bold]/b[0]")
    assert "/a[bold]/b[0]" in rendered(render_report(with_(layers=(layer,))))
    assert LONG in rendered(render_report(REPORT), 140)


def test_without_color_there_is_no_escape_and_with_it_a_loss_is_yellow() -> None:
    worse = dataclasses.replace(LAYERS[0], magnitude_error=0.001)
    report = with_(layers=(worse,))
    assert "\x1b" not in rendered(render_report(report))
    assert re.search("\x1b\\[33m *0.1x", rendered(render_report(report), color=True))
    assert "\x1b[33m" not in rendered(render_report(REPORT), color=True)


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


def test_a_remedy_is_said_once_per_status() -> None:
    layer = dataclasses.replace(LAYERS[0], status="damped", remedy="Give more samples.")
    text = words(render_report(with_(layers=(layer, layer, LAYERS[1]))))
    assert text.count("Give more samples.") == 1
    assert "damped (2 layers): Give more samples." in text
    assert "damped (1 layer): " in words(render_report(with_(layers=(layer,))))


def test_warnings_stand_in_a_yellow_panel() -> None:
    report = with_(warnings=("random inputs were used", "too few samples"))
    text = rendered(render_report(report), color=True)
    assert "\x1b[1;33m╭─" in text  # newer versions of rich colour the title too
    assert " 2 warnings " in text
    assert "random inputs were used" in text
    assert "─ warning ─" in rendered(render_report(with_(warnings=("one",))))
    assert "warning" not in rendered(render_report(REPORT))


@pytest.mark.parametrize(
    ("storage", "hint"),
    [
        ("dense", "--format sparse shrinks the file itself"),
        ("sparse", "makes them dense when it loads them"),
        ("sparse", "OpenVINO, TensorRT, MNN, onnx2tf, onnxoptimizer"),
        ("sparse", "lose weights or shapes without a word"),
        ("packed", "up to five times the memory of a dense one"),
        ("packed", "onnxsim, onnxslim and onnx-graphsurgeon make it large again"),
        ("packed", "TensorRT, onnx2tf, and onnxruntime built for few operators cannot read it"),
    ],
)
def test_the_hint_is_honest_about_the_format(storage: str, hint: str) -> None:
    text = words(render_report(with_(options={"storage": storage})))
    assert "written to m_pruned.onnx" in text
    assert hint in text


def test_int8_values_have_a_hint_of_their_own() -> None:
    text = words(render_report(with_(options={"storage": "packed", "values": "int8"})))
    assert "session.disable_quant_qdq=1" in text
    assert "Pack last" in text


def test_without_a_file_there_is_no_hint() -> None:
    text = words(render_report(with_(output_path=None)))
    assert "note:" not in text
    assert "written" not in text


def test_a_long_path_is_whole() -> None:
    path = "/a" * 90
    assert path in rendered(render_report(with_(output_path=path)), 80).replace("\n", "")


def test_few_skipped_nodes_are_listed_with_their_reasons() -> None:
    text = words(render_report(with_(skipped=skips(MOST_ROWS))))
    for i in range(MOST_ROWS):
        assert f"node{i} Conv - {i} weights, fewer than 64" in text
    assert "skipped" not in words(render_report(with_(skipped=())))


def test_many_skipped_nodes_are_grouped_unless_all_are_wanted() -> None:
    report = with_(
        skipped=(*skips(MOST_ROWS), SkipRecord("/l", "LSTM", "inside a Loop", "in a loop"))
    )
    text = words(render_report(report))
    assert "skipped nodes: 13 (-v lists them)" in text
    assert (
        "12 - … weights, fewer than 64 Conv node0 1 - inside a Loop LSTM /l Conv node1" not in text
    )
    assert "12 - … weights, fewer than 64 Conv node0 Conv node1" in text
    assert "node2" not in text
    assert "node11 Conv - 11 weights" in words(render_report(report, verbose=True))


def test_skips_are_grouped_by_kind_and_say_what_their_reasons_have_in_common() -> None:
    records = (
        SkipRecord("a", "LSTM", "inside a Loop", "in a loop"),
        *skips(2),
        *skips(2, "its weight is read by 'x', 3 times", "read elsewhere"),
        SkipRecord("b", "Gemm", "inside a Loop", "another"),
        SkipRecord("c", "QGemm", "quantised", "quantised"),
        *skips(2, "made by DequantizeLinear", "quantised"),
    )
    assert [(reason, len(group)) for reason, group in group_skips(records)] == [
        ("quantised", 3),
        ("… weights, fewer than 64", 2),
        ("its weight is read by 'x', 3 times", 2),
        ("inside a Loop", 1),
        ("inside a Loop", 1),
    ]


def test_an_inspection_tells_model_layers_and_zeros() -> None:
    text = words(render_inspection(INSPECTION), 120)
    assert "m.onnx opset 17, IR 8, by pytorch 2.4, 1.23 MB" in text
    assert "/conv/Conv Conv 64x1x3x3 float32 64x1x9 576 2.1 %" in text
    assert f"{LONG} MatMul 768x768 float16 768x768 589,824 0.0 %" in text
    assert "2 layers, 590,400 prunable weights, 12 zeros (0.0 %)" in text
    assert "/lstm LSTM - its weights are not a matrix" in text


@pytest.mark.parametrize("is_report", [True, False])
def test_the_weights_of_the_whole_file_are_told(is_report: bool) -> None:
    def shown(file: FileWeights) -> str:
        totals = dataclasses.replace(REPORT.totals, file=file)
        report = render_report(with_(totals=totals))
        inspection = render_inspection(dataclasses.replace(INSPECTION, weights=file))
        return words(report if is_report else inspection).replace(":", "")

    if is_report:
        whole = shown(FileWeights(1_235_200, 1_235_200, {}))
        assert "zeros 1,148,736 of all 1,235,200 weights (93.0 %)" in whole
        assert "in the file" not in whole
    plain = shown(FileWeights(600_400, 590_400, {"recurrent": 9_000, "few weights": 1_000}))
    assert "in the file 590,400 of 600,400 weights can be pruned (98.3 %)" in plain
    assert "left 9,000 recurrent, 1,000 few weights" in plain
    assert not {"tables", "quantised", "products"} & set(plain.split())
    more = shown(FileWeights(600, 200, {"quantised weight": 400}, 50, 400, 100, 3))
    assert "quantised 100 of 400 stand for 0 (25.0 %)" in more
    assert "in tables 50 besides" in more
    assert "no weights 3 products of two computed operands" in more


def test_uses_are_shown_only_where_a_weight_is_tied() -> None:
    assert "uses" not in words(render_inspection(INSPECTION))
    tied = dataclasses.replace(INSPECTION.layers[0], uses=3)
    text = words(render_inspection(dataclasses.replace(INSPECTION, layers=(tied,))))
    assert "zeros uses" in text
    assert "2.1 % 3" in text


def test_an_inspection_without_layers_says_so() -> None:
    nothing = dataclasses.replace(INSPECTION, layers=(), skipped=(), producer="", file_bytes=0)
    text = words(render_inspection(nothing))
    assert "opset 17, IR 8 no layer can be pruned" in text


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


RED = "\x1b[1;31m"


@pytest.mark.parametrize(
    ("after", "error", "is_red"), [(0.5, 0.01, True), (0.97, 0.001, False), (0.5, 0.3, False)]
)
def test_a_score_that_collapsed_is_red(after: float, error: float, is_red: bool) -> None:
    """By more than a fifth of it, and more than chance does."""
    score = ScoreRecord("top1", 0.99, after, 0.99 - after, drop_error=error, n=99, is_fraction=True)
    text = rendered(render_report(with_(output=OutputRecord(0.1, score=score))), color=True)
    assert (RED in text) == is_red
