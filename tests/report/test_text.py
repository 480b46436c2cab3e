"""The report on the terminal."""

from __future__ import annotations

import dataclasses
import re

import pytest
from rich.console import RenderableType
from shown_report import LAYERS, LONG, REPORT, rendered, with_, words

from onnx_lobs.report.inspection import render_inspection
from onnx_lobs.report.record import DeployRecord, FileWeights, SkipRecord
from onnx_lobs.report.skips import MOST_ROWS, group_skips
from onnx_lobs.report.text import render_report
from onnx_lobs.verbs.inspect import Inspection, LayerRow

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


def test_a_remedy_is_said_once_per_status() -> None:
    layer = dataclasses.replace(LAYERS[0], status="damped", remedy="Give more samples.")
    text = words(render_report(with_(layers=(layer, layer, LAYERS[1]))))
    assert text.count("Give more samples.") == 1
    assert "damped (2 layers): Give more samples." in text
    assert "damped (1 layer): " in words(render_report(with_(layers=(layer,))))


@pytest.mark.parametrize(
    ("storage", "hint"),
    [
        ("dense", "--format sparse shrinks the file itself"),
        ("sparse", "makes them dense when it loads them"),
        ("sparse", "OpenVINO, TensorRT, MNN, onnx2tf, onnxoptimizer"),
        ("sparse", "lose weights or shapes without a word"),
        ("packed", "up to five times the memory of a dense one"),
        (
            "packed",
            "onnxsim, onnxslim, onnx-graphsurgeon and what onnxruntime saves of it "
            "make it large again",
        ),
        ("packed", "TensorRT, onnx2tf, and onnxruntime built for few operators cannot read it"),
    ],
)
def test_the_hint_is_honest_about_the_format(storage: str, hint: str) -> None:
    text = words(render_report(with_(options={"storage": storage})))
    assert "written to m_pruned.onnx" in text
    assert hint in text


@pytest.mark.parametrize(("target", "is_told"), [("mnn", False), ("c", False), ("openvino", True)])
def test_a_target_tells_itself_what_dense_zeros_buy(target: str, is_told: bool) -> None:
    storage = "packed" if target == "openvino" else "dense"
    deployed = DeployRecord(target, expect=("faster",), files=(), command=())
    text = words(render_report(with_(options={"storage": storage}, deploy=deployed)))
    assert ("note:" in text) is is_told
    assert "faster" in text


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


RED = "\x1b[1;31m"
