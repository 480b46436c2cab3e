"""The score of a pruning run: which, on what, and when it is found to be impossible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, value
from onnx import helper

import onnx_lobs
from onnx_lobs import ConfigError, DataError, ScoreError
from onnx_lobs.report.record import ScoreRecord
from onnx_lobs.run import solve_all

FAST: dict[str, Any] = {"method": "magnitude", "refit": False, "sparsity": 0.5}
INPUTS = normal(1, 30, 16)
LABELS = np.arange(30) % 8


def network(tail: tuple[str, ...] = ()) -> onnx.ModelProto:
    """The model ``y = relu(x w1) w2`` of 8 classes, with nodes after it."""
    names = ["y", *(f"y{i}" for i in range(len(tail)))]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["y"]),
        *(helper.make_node(op, [names[i]], [names[i + 1]]) for i, op in enumerate(tail)),
    ]
    weights = {"w1": normal(2, 16, 24), "w2": normal(3, 24, 8)}
    return model(nodes, [value("x", ["n", 16])], [names[-1]], weights)


def pruned(score: str | None, test: Any, **options: Any) -> ScoreRecord | None:
    result = onnx_lobs.prune(network(), INPUTS, test=test, score=score, **FAST, **options)
    assert json.loads(result.report.to_json())["options"]["score"] == score
    return result.report.output.score


def outputs(proto: onnx.ModelProto) -> np.ndarray[Any, Any]:
    from build_onnx import run

    return run(proto, x=INPUTS)["y"]


def test_labels_are_scored_by_top1_and_the_drop_has_its_paired_error() -> None:
    result = onnx_lobs.prune(network(), INPUTS, test={"x": INPUTS, "label": LABELS}, **FAST)
    score = result.report.output.score
    assert score is not None
    before = outputs(network()).argmax(1) == LABELS
    after = outputs(result.model).argmax(1) == LABELS
    assert (score.name, score.n, score.is_fraction) == ("top1", 30, True)
    assert (score.before, score.after) == (before.mean(), after.mean())
    assert score.drop == score.before - score.after
    drops = before.astype(float) - after
    # the formula in another order
    assert score.drop_error == pytest.approx(drops.std() / np.sqrt(30), rel=1e-12)
    assert score.before_error == pytest.approx(before.std() / np.sqrt(30), rel=1e-12)


def test_agreement_and_cosine_need_no_labels_and_compare_with_the_dense_model() -> None:
    result = onnx_lobs.prune(network(), INPUTS, test=INPUTS, score="agreement", **FAST)
    agreed = (outputs(network()).argmax(1) == outputs(result.model).argmax(1)).mean()
    score = result.report.output.score
    assert score is not None
    assert (score.before, score.after) == (1.0, agreed)
    cosine = pruned("cosine", INPUTS)
    assert cosine is not None
    assert cosine.before == pytest.approx(1.0, abs=1e-12)
    assert 0 < cosine.after < 1


def test_a_function_of_run_alone_needs_no_test_data(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text(
        "import numpy as np\n"
        "def score(run):\n    return run({'x': np.ones((1, 16), np.float32)})['y'][0, 0]\n"
    )
    score = pruned(f"{script}:score", None)
    assert score is not None
    assert (score.n, score.drop_error, score.is_fraction) == (0, None, False)
    assert score.before != score.after


def test_a_score_that_has_no_data_or_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="score 'agreement' needs test data; give them with --te"):
        pruned("agreement", None)
    with pytest.raises(DataError, match="has no labels; add an array `label`, which score 'top5'"):
        pruned("top5", INPUTS)
    with pytest.raises(ConfigError, match="score 'best' is unknown; choose one of top1"):
        pruned("best", INPUTS)


@pytest.mark.parametrize("broken", ["def score(run): raise ValueError('no')", ""])
def test_an_impossible_score_is_found_before_the_work(
    tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*args: Any) -> Any:
        raise AssertionError("the work began")

    monkeypatch.setattr(solve_all, "calibrations", work)
    script = tmp_path / "s.py"
    script.write_text(broken)
    with pytest.raises((ScoreError, ConfigError), match=r"raised ValueError: no|no function"):
        pruned(f"{script}:score", None)
    with pytest.raises(DataError, match="label 8 is no class index"):
        pruned(None, {"x": INPUTS, "label": LABELS + 1})


@pytest.mark.parametrize("score", [None, "top1"])
def test_labels_found_beside_a_model_without_classes_are_left_unless_asked_for(
    tmp_path: Path, score: str | None
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(network(("ReduceSum",)), path)
    np.savez(tmp_path / "test.npz", x=INPUTS, label=LABELS)
    if score is not None:
        with pytest.raises(DataError, match=r"no output of shape \(samples, classes\)"):
            onnx_lobs.prune(path, INPUTS, score=score, **FAST)
        return
    report = onnx_lobs.prune(path, INPUTS, **FAST).report
    assert report.output.score is None
    assert any(
        warning.startswith("the labelled data found beside the model were not used: no output")
        for warning in report.warnings
    )


def test_nan_in_the_output_is_said_and_is_no_crash() -> None:
    result = onnx_lobs.prune(network(("Sqrt",)), INPUTS, sparsity=0.9, method="magnitude")
    report = json.loads(result.report.to_json())
    assert report["output"]["error"] is None
    assert any("are NaN or infinite" in warning for warning in report["warnings"])


def test_the_score_does_not_change_what_is_cached(tmp_path: Path) -> None:
    test = {"x": INPUTS, "label": LABELS}
    options = {"cache": str(tmp_path)}
    pruned("top1", test, **options)
    entries = sorted(tmp_path.iterdir())
    pruned("cosine", test, **options)
    assert entries
    assert sorted(tmp_path.iterdir()) == entries
