"""evaluate(): two models side by side, what is refused, and the limits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, run, value
from onnx import TensorProto, helper

import onnx_lobs
from onnx_lobs import ConfigError, DataError, Evaluation, ModelError
from onnx_lobs.graph.run.staged import StagedSession
from onnx_lobs.memory.shares import MemoryShares
from onnx_lobs.report.record import SCHEMA
from onnx_lobs.verbs import evaluate as comparison

NODE = helper.make_node
INPUTS = normal(1, 40, 16)
LABELS = np.random.default_rng(2).integers(0, 8, 40)
DATA = {"x": INPUTS, "label": LABELS}
WEIGHT = normal(3, 16, 8)
TOOL = Path(__file__).parents[2] / "tools" / "make_large.py"


def linear(
    weight: np.ndarray[Any, Any] = WEIGHT,
    *,
    name: str = "w",
    rows: int | str = "n",
    source: str = "x",
    target: str = "y",
    tail: str = "",
) -> onnx.ModelProto:
    """The model ``y = x w``."""
    nodes = [NODE("MatMul", [source, name], ["h" if tail else target])]
    nodes += [NODE(tail, ["h"], [target])] if tail else []
    return model(nodes, [value(source, [rows, weight.shape[0]])], [target], {name: weight})


def sparse_copy(zeros: int = 60, **options: Any) -> onnx.ModelProto:
    weight = WEIGHT.copy()
    smallest = np.argsort(np.abs(weight), axis=None)[:zeros]
    weight.reshape(-1)[smallest] = 0
    return linear(weight, **options)


def test_models_with_other_names_of_weights_are_compared_and_scored() -> None:
    pruned = sparse_copy(name="another")
    found = onnx_lobs.evaluate(linear(), pruned, DATA)
    a, b = run(linear(), x=INPUTS)["y"], run(pruned, x=INPUTS)["y"]
    change, energy = np.square(b - a.astype(float)).sum(), np.square(a.astype(float)).sum()
    assert found.error == pytest.approx(change / energy, rel=1e-5)  # float32 products
    (output,) = found.outputs
    assert output.agreement == (a.argmax(1) == b.argmax(1)).mean()
    top1, top5 = found.scores
    assert (top1.name, top5.name, top1.n) == ("top1", "top5", 40)
    assert top1.before == (a.argmax(1) == LABELS).mean()
    assert top1.after == (b.argmax(1) == LABELS).mean()
    assert (found.dense.zeros, found.pruned.zeros, found.pruned.weights) == (0, 60, 128)
    assert found.pruned.sparsity == 60 / 128
    assert (found.samples, found.gzip_bytes) == (40, None)
    (warning,) = found.warnings  # the labels are drawn
    assert "no better than guessing among 8 classes" in warning


def test_the_record_is_json_with_derived_figures() -> None:
    found = onnx_lobs.evaluate(linear(), sparse_copy(), DATA, max_output_error=1e-6)
    record = json.loads(found.to_json())
    assert record["schema"] == SCHEMA
    assert record["pruned"]["sparsity"] == 60 / 128
    assert record["outputs"][0]["name"] == "y"
    assert record["scores"][0]["drop"] == found.scores[0].drop
    assert record["limits"]["max_output_error"] == 1e-6
    assert record["missed"] == list(found.missed)


def test_files_have_sizes_and_the_test_set_beside_the_dense_model_is_found(tmp_path: Path) -> None:
    for name, proto in (("a", linear()), ("b", sparse_copy(120))):
        onnx.save(proto, tmp_path / f"{name}.onnx")
    np.savez(tmp_path / "a_test.npz", **DATA)  # type: ignore[arg-type]
    found = onnx_lobs.evaluate(tmp_path / "a.onnx", tmp_path / "b.onnx")
    sizes = tuple((tmp_path / f"{name}.onnx").stat().st_size for name in "ab")
    assert found.file_bytes == sizes
    assert found.gzip_bytes is not None
    assert found.gzip_bytes[1] < found.gzip_bytes[0]
    assert found.data.startswith("a_test.npz")
    assert len(found.scores) == 2


def test_a_test_set_beside_the_model_that_does_not_fit_is_left_with_a_warning(
    tmp_path: Path,
) -> None:
    onnx.save(linear(), tmp_path / "a.onnx")
    np.savez(tmp_path / "test.npz", x=INPUTS, extra=LABELS, label=LABELS)
    np.savez(tmp_path / "calibration.npz", x=INPUTS[:10])
    found = onnx_lobs.evaluate(tmp_path / "a.onnx", linear(), samples=7)
    assert found.data == "calibration.npz (7 of 10 samples)"
    assert found.warnings[0].startswith("test.npz, found beside the model, was not used to score")


def test_without_data_inputs_are_made_up_and_said_to_be() -> None:
    found = onnx_lobs.evaluate(linear(), sparse_copy(), samples=8)
    assert found.samples == 8
    assert found.scores == ()
    assert any("random inputs were used" in warning for warning in found.warnings)


def test_the_score_asked_for_is_the_only_one_and_may_be_a_function() -> None:
    (score,) = onnx_lobs.evaluate(linear(), sparse_copy(), INPUTS, score="agreement").scores
    assert (score.name, score.before) == ("agreement", 1.0)

    def energy(run: Any, batches: Any) -> float:
        return float(sum(np.square(run(feeds)["y"]).sum() for feeds, _ in batches))

    (score,) = onnx_lobs.evaluate(linear(), sparse_copy(), INPUTS, score=energy).scores
    total = np.square(run(linear(), x=INPUTS)["y"].astype(float)).sum()
    assert (score.name, score.before) == ("energy", pytest.approx(total, rel=1e-5))  # float32


def test_few_classes_have_no_top5_and_no_classes_no_score() -> None:
    few = linear(normal(4, 16, 5))
    data = {"x": INPUTS, "label": LABELS % 5}
    assert [s.name for s in onnx_lobs.evaluate(few, few, data).scores] == ["top1"]
    sums = linear(tail="ReduceSum")
    found = onnx_lobs.evaluate(sums, sums, DATA)
    assert found.scores == ()
    assert found.warnings[0].startswith("the labels were not used: no output of shape (samples")
    with pytest.raises(DataError, match=r"no output of shape \(samples, classes\)"):
        onnx_lobs.evaluate(sums, sums, DATA, max_drop=0.1)


def test_labels_that_are_no_class_indices_are_left_with_a_warning_unless_asked_for() -> None:
    data = {"x": INPUTS, "label": np.where(LABELS == 0, 8, LABELS)}
    found = onnx_lobs.evaluate(linear(), sparse_copy(), data)
    assert found.scores == ()
    assert found.warnings[0].startswith("the labels were not used: label 8 is no class index")
    with pytest.raises(DataError, match="label 8 is no class index"):
        onnx_lobs.evaluate(linear(), sparse_copy(), data, score="top1")


@pytest.mark.parametrize(
    ("pruned", "message"),
    [
        (linear(source="z"), "take different inputs: the dense one 'x', the pruned one 'z'; comp"),
        (linear(normal(1, 15, 8)), r"'x' of the dense one is float32 \('n', 16\), of the pruned "),
        (linear(target="z"), "give different outputs: the dense one 'y', the pruned one 'z'"),
    ],
)
def test_models_that_take_or_give_other_things_are_refused(
    pruned: onnx.ModelProto, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        onnx_lobs.evaluate(linear(), pruned, DATA)


def test_a_batch_size_that_only_the_pruned_model_fixes_wins() -> None:
    found = onnx_lobs.evaluate(linear(), sparse_copy(rows=4), DATA)
    assert (found.outputs[0].shape, found.samples) == ((4, 8), 40)


def test_nan_of_the_pruned_model_is_said_and_meets_no_limit() -> None:
    found = onnx_lobs.evaluate(linear(), linear(tail="Sqrt"), DATA, max_output_error=10.0)
    assert found.error is None
    assert any("are NaN or infinite" in warning for warning in found.warnings)
    (line,) = found.missed
    assert "could not be measured" in line
    json.loads(found.to_json())


def limited(**limits: float) -> Evaluation:
    return onnx_lobs.evaluate(linear(), sparse_copy(), DATA, **limits)  # type: ignore[arg-type]


def test_limits_are_met_or_missed_one_by_one() -> None:
    drop, error = limited().scores[0].drop, limited().error
    assert drop > 0.01
    assert error is not None
    exact = {"max_drop": drop, "max_output_error": error, "min_sparsity": 60 / 128}
    assert limited(**exact).missed == ()
    missed = limited(max_drop=drop - 0.01, max_output_error=error / 2, min_sparsity=0.47).missed
    assert [line.split(",")[0].split(" is ")[0].split(" by ")[0] for line in missed] == [
        "the output error",
        "score top1 drops",
        "46.9 % of the weights are zero",
    ]
    assert missed[2].endswith("fewer than 47 %")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_drop": -0.1}, "max_drop is -0.1; it must be a finite number >= 0, e.g. 0.01"),
        ({"max_output_error": float("nan")}, "max_output_error is nan; it must be"),
        ({"min_sparsity": 1.0}, "min_sparsity is 1.0; it must be at least 0 and below 1"),
    ],
)
def test_an_impossible_limit_is_refused(limits: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        limited(**limits)


def test_a_drop_needs_a_score() -> None:
    with pytest.raises(
        ConfigError, match=r"max_drop is 0.1, but there is no score: array .* no la"
    ):
        onnx_lobs.evaluate(linear(), sparse_copy(), INPUTS, max_drop=0.1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (normal(1, 3, 9), r"input 'x' has shape \(3, 9\); the model wants"),
        (np.zeros((0, 16), np.float32), "holds no samples; give at least one"),
        ({"x": INPUTS * np.nan}, "holds NaN or infinity"),
    ],
)
def test_data_that_do_not_fit_are_refused(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        onnx_lobs.evaluate(linear(), sparse_copy(), data)


def test_a_model_run_in_float32_is_noted() -> None:
    weight = normal(1, 16, 8).astype("float64")
    kernel = weight.T.reshape(8, 16, 1)
    node = NODE("Conv", ["x", "w"], ["y"])
    inputs = [value("x", ["n", 16, 3], TensorProto.DOUBLE)]
    outputs = [value("y", None, TensorProto.DOUBLE)]
    proto = model([node], inputs, outputs, {"w": kernel})
    found = onnx_lobs.evaluate(proto, proto, normal(1, 4, 16, 3).astype("float64"))
    assert [warning.split(":")[0] for warning in found.warnings] == [
        "the dense model is run in float32",
        "the pruned model is run in float32",
    ]


@pytest.mark.slow
def test_large_models_run_in_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("make_large", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.make_data(tmp_path, 32, 8, 12, 0)
    path = tool.make_model(tmp_path, 32, 1, 8, 0)
    data = str(tmp_path / "calibration.npz")
    pruned = onnx_lobs.prune(path, data, method="magnitude", sparsity=0.5, batch_size=4).model
    onnx.save(pruned, tmp_path / "small.onnx")
    whole = onnx_lobs.evaluate(path, tmp_path / "small.onnx", data)
    staged: list[bool] = []
    monkeypatch.setattr(
        comparison, "share_out", lambda memory: MemoryShares(1000, 1 << 20, 10_000, 1000)
    )
    real = comparison.open_judged

    def look(*args: Any, **options: Any) -> Any:
        session = real(*args, **options)
        staged.append(isinstance(session.network, StagedSession))
        return session

    monkeypatch.setattr(comparison, "open_judged", look)
    found = onnx_lobs.evaluate(path, tmp_path / "small.onnx", data, score="agreement")
    assert staged == [True, True]
    assert found.error == pytest.approx(whole.error, rel=1e-3)  # sums in another order
    assert found.scores[0].n == found.samples


def test_ids_that_are_made_up_are_rows_of_the_smallest_table() -> None:
    nodes = [NODE("Gather", ["table", "i"], ["x"]), NODE("MatMul", ["x", "w"], ["y"])]
    inputs = [value("i", ["n"], TensorProto.INT64)]
    proto = model(nodes, inputs, ["y"], {"table": normal(4, 30, 16), "w": WEIGHT})
    assert onnx_lobs.evaluate(proto, proto).error == 0


def test_labels_of_samples_are_left_where_scores_are_of_words() -> None:
    nodes = [NODE("Reshape", ["x", "shape"], ["words"]), NODE("MatMul", ["words", "w"], ["y"])]
    weights = {"shape": np.array([-1, 8]), "w": normal(5, 8, 8)}
    proto = model(nodes, [value("x", ["n", 16])], ["y"], weights)
    found = onnx_lobs.evaluate(proto, proto, DATA)
    assert found.scores == ()
    assert any("the labels were not used: the test set has" in w for w in found.warnings)
    with pytest.raises(DataError, match="labels"):
        onnx_lobs.evaluate(proto, proto, DATA, max_drop=0.1)


def test_zeros_of_a_quantised_model_count_and_so_do_its_weights() -> None:
    pruned = sparse_copy()
    weight = onnx.numpy_helper.to_array(pruned.graph.initializer[0])
    scale = np.float32(np.abs(weight).max() / 127)
    eight = (np.rint(weight / scale) + 1).astype(np.int8)
    nodes = [
        NODE("DequantizeLinear", ["q", "scale", "zero"], ["w"]),
        NODE("MatMul", ["x", "w"], ["y"]),
    ]
    stored = {"q": eight, "scale": np.asarray(scale), "zero": np.asarray(np.int8(1))}
    quantised = model(nodes, [value("x", ["n", 16])], ["y"], stored)
    found = onnx_lobs.evaluate(linear(), quantised, {"x": INPUTS}, min_sparsity=0.4)
    assert (found.pruned.weights, found.pruned.zeros) == (128, int((eight == 1).sum()))
    assert found.pruned.zeros >= 60
    assert found.missed == ()
    assert found.pruned.multiplications is None  # it lists no layers that could be pruned
    assert found.multiplications is None


def test_multiplications_are_those_by_weights_that_are_not_zero() -> None:
    found = onnx_lobs.evaluate(linear(), sparse_copy(zeros=60), {"x": INPUTS})
    assert found.multiplications == (128, 68)
    assert json.loads(found.to_json())["pruned"]["multiplications"] == 68


def test_multiplications_are_not_told_where_a_size_is_open() -> None:
    nodes = [NODE("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]
    proto = model(nodes, [value("x", ["n", 3, "h", "w"])], ["y"], {"w": normal(4, 8, 3, 3, 3)})
    found = onnx_lobs.evaluate(proto, proto, {"x": normal(5, 4, 3, 6, 6)})
    assert found.dense.weights == 216
    assert found.multiplications is None
