"""What a run says of data, labels and models that cannot be right; a good run says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, model, normal, value
from onnx import ModelProto, TensorProto
from onnx.helper import make_node

import onnx_lobs
from onnx_lobs import PruneConfig
from onnx_lobs.evaluation.scoring import collapse_notes
from onnx_lobs.report.progress import as_progress
from onnx_lobs.run.outcome import NOTHING_HELD
from onnx_lobs.verbs.prune import prune_file

FAST: dict[str, Any] = {"method": "magnitude", "refit": False, "allocation": "uniform"}
MEANS = 3 * np.eye(8, 16, dtype=np.float32)  # of eight classes of points that lie well apart
TINY = np.float32(1e-3)  # so that no weight is zero before it is pruned


def classifier(ceiling: float = 6.0) -> ModelProto:
    """Return a network that tells the classes by the nearest mean, behind a ReLU with a ceiling."""
    nodes = [
        make_node("MatMul", ["x", "w1"], ["a"]),
        make_node("Clip", ["a", "low", "high"], ["b"]),
        make_node("MatMul", ["b", "w2"], ["z"]),
        make_node("Softmax", ["z"], ["y"]),
    ]
    weights = {"w1": MEANS.T / 3 + TINY, "w2": np.eye(8, dtype=np.float32) + TINY,
               "low": np.float32(0)[()], "high": np.float32(ceiling)[()]}  # fmt: skip
    weights = {name: np.asarray(array) for name, array in weights.items()}
    return model(nodes, [value("x", ["n", 16])], ["y"], weights)


def points(seed: int, n: int = 160) -> tuple[Array, Array]:
    labels = np.arange(n) % 8
    return (MEANS[labels] + 0.5 * normal(seed, n, 16)).astype(np.float32), labels


def warnings(data: Array, test: Any = None, sparsity: float = 0.1) -> tuple[str, ...]:
    return onnx_lobs.prune(classifier(), data, test=test, sparsity=sparsity, **FAST).report.warnings


def test_good_data_and_labels_say_nothing() -> None:
    x, labels = points(1)
    assert warnings(points(2)[0], {"x": x, "label": labels}) == ()


@pytest.mark.parametrize("n", [1, 2, 64])
def test_samples_that_are_all_alike_are_told(n: int) -> None:
    (text,) = [w for w in warnings(np.repeat(points(1)[0][:1], n, 0)) if w != NOTHING_HELD]
    assert ("one sample" if n == 1 else f"all {n} samples are the same") in text


def test_inputs_beyond_what_the_network_takes_are_told_with_their_range() -> None:
    """Pixels of 0 to 255, at which every unit stands at its ceiling."""
    x = np.random.default_rng(1).integers(20, 256, (64, 16)).astype(np.float32)
    (text,) = warnings(x)
    assert "outputs are the same for all of 64 samples" in text
    assert f"'x' goes from {x.min():.0f} to {x.max():.0f}" in text


def test_labels_that_count_from_one_are_told() -> None:
    x, labels = points(1)
    (text,) = warnings(points(2)[0], {"x": x, "label": (labels + 1) % 8})
    assert "with every label one lower" in text


def test_a_score_that_collapses_is_told() -> None:
    x, labels = points(1)
    (text,) = warnings(points(2)[0], {"x": x, "label": labels}, sparsity=0.97)
    assert "the score top1 collapsed from 100.00 % to" in text


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("more", [{}, {"retrain": 3, "retrain_move": "all"}])
def test_the_score_that_is_told_to_collapse_is_the_last_one(
    blocks: bool, more: dict[str, Any]
) -> None:
    x, labels = points(1)
    report = onnx_lobs.prune(
        classifier(), points(2)[0], test={"x": x, "label": labels}, sparsity=0.93,
        refit_blocks=blocks, **more, **FAST,
    ).report  # fmt: skip
    assert report.output.score is not None
    wanted = collapse_notes(report.output.score)
    assert len(wanted) == 1
    assert [text for text in report.warnings if "collapsed" in text] == wanted


def test_made_up_data_are_not_doubted() -> None:
    found = onnx_lobs.prune(classifier(), sparsity=0.1, samples=1, **FAST).report.warnings
    (text,) = [warning for warning in found if warning != NOTHING_HELD]
    assert "random inputs were used" in text


def test_evaluate_tells_the_same_of_labels_scores_and_outputs() -> None:
    x, labels = points(1)
    bad = onnx_lobs.prune(classifier(), x, sparsity=0.97, **FAST).model
    found = onnx_lobs.evaluate(classifier(), bad, {"x": x, "label": labels})
    assert ["collapsed" in text for text in found.warnings] == [True]
    assert found.judged[0].value == "z"
    found = onnx_lobs.evaluate(classifier(), classifier(), {"x": x, "label": (labels - 1) % 8})
    assert ["one higher" in text for text in found.warnings] == [True]
    found = onnx_lobs.evaluate(classifier(), classifier(), 255 + 0 * x + labels[:, None])
    assert ["are the same" in text for text in found.warnings] == [True]


@pytest.mark.parametrize(("outputs", "share"), [(64, "80.0 %"), (4, "20.0 %")])
def test_a_model_that_is_partly_quantised_is_told_how_far(outputs: int, share: str) -> None:
    nodes = [
        make_node("MatMul", ["x", "w"], ["h"]),
        make_node("DynamicQuantizeLinear", ["h"], ["q", "scale", "zero"]),
        make_node("MatMulInteger", ["q", "w8", "zero"], ["i"]),
        make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        make_node("Mul", ["f", "scale"], ["y"]),
    ]
    eight = np.random.default_rng(1).integers(-9, 9, (32, outputs)).astype(np.int8)
    proto = model(nodes, [value("x", ["n", 16])], ["y"], {"w": normal(1, 16, 32), "w8": eight})
    told = onnx_lobs.prune(proto, normal(2, 64, 16), sparsity=0.5, **FAST).report.warnings
    assert len(told) == 1
    assert f"{share} of the weights are quantised" in told[0]
    assert "prune the float model" in told[0]


@pytest.mark.parametrize(("width", "is_told"), [(40, True), (24, False)])
def test_a_run_that_takes_less_than_half_of_the_file_names_what_is_left(
    width: int, is_told: bool
) -> None:
    """A matrix that is read by an Add too is left; the other one has 16 x 32 weights."""
    nodes = [
        make_node("MatMul", ["x", "w"], ["h"], name="taken"),
        make_node("MatMul", ["h", "v"], ["p"], name="left"),
        make_node("ReduceSum", ["v"], ["s"], keepdims=0),
        make_node("Add", ["p", "s"], ["y"]),
    ]
    weights = {"w": normal(1, 16, 32), "v": normal(2, 32, width - 16)}
    proto = model(nodes, [value("x", ["n", 16])], ["y"], weights)
    report = onnx_lobs.prune(proto, normal(2, 64, 16), sparsity=0.5, **FAST).report
    assert report.totals.file is not None
    assert report.totals.file.skipped == {"weight read elsewhere": 32 * (width - 16)}
    assert [skip.weights for skip in report.skipped] == [32 * (width - 16)]
    told = [text for text in report.warnings if text.startswith("only")]
    assert len(told) == is_told
    if is_told:
        assert "only 40.0 % of the file's weights can be pruned (512 of 1,280)" in told[0]
        assert "left (768: weight read elsewhere)" in told[0]


@pytest.mark.parametrize(
    ("samples", "options", "is_told"),
    [
        (12, {}, True),
        (12, {"method": "magnitude", "refit": True}, True),
        (12, {"method": "magnitude", "refit": False}, False),
        (16, {}, False),
    ],
)
def test_layers_with_fewer_observations_than_inputs_are_told_before_the_work(
    samples: int, options: dict[str, Any], is_told: bool, tmp_path: Path
) -> None:
    """Its layers have 16 and 8 inputs."""
    seen: list[str] = []
    proto, x = classifier(), points(1, 16)[0][:samples]
    onnx.save(proto, tmp_path / "m.onnx")
    config = PruneConfig(sparsity=0.1, **{"allocation": "uniform", **options})

    def work(phase: str, done: int, total: int) -> None:
        seen.append(phase)

    progress = as_progress(work)
    prune_file(
        tmp_path / "m.onnx", tmp_path / "out.onnx", config,
        data=x, progress=progress, warn=seen.append,
    )  # fmt: skip
    told = [text for text in seen if text.startswith("fewer observations")]
    assert len(told) == is_told
    if is_told:
        assert "in 1 of 2 layers (w1: 12 for 16)" in told[0]
        assert "so few samples (12); give more" in told[0]
        work_begins = next(i for i, text in enumerate(seen) if "calibrating" in text)
        assert seen.index(told[0]) < work_begins


def test_what_the_options_leave_is_no_reason_to_warn() -> None:
    options = {**FAST, "include": ("MatMul_z",), "sparsity": 0.1}
    report = onnx_lobs.prune(classifier(), points(1)[0], **options).report
    assert report.totals.file is not None
    assert report.totals.file.skipped == {"not included": 128}
    assert not any(text.startswith("only") for text in report.warnings)
