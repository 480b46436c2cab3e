"""Models and data that are not what they seem: each is pruned, or told in one line what to do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from build_onnx import initializer, model, normal, run, value
from onnx import ModelProto, TensorProto, helper

import onnx_lobs
from onnx_lobs.errors import ConfigError, LobsError, ModelError, NotFiniteError

NODE = helper.make_node
QUICK: dict[str, Any] = {"min_weights": 8, "allocation": "uniform", "effort": "fast"}
HALF = 0.5


def mlp(batch: int | str | None = "N", **changed: Any) -> ModelProto:
    nodes = [
        NODE("Gemm", ["x", "w1", "b1"], ["h"], name="fc1"),
        NODE("Relu", ["h"], ["r"]),
        NODE("Gemm", ["r", "w2", "b2"], ["y"], name="fc2"),
    ]
    weights = {
        "w1": normal(1, 6, 16), "b1": normal(2, 16), "w2": normal(3, 16, 4), "b2": normal(4, 4),
    }  # fmt: skip
    return model(
        nodes, [value("x", [batch, 6])], [value("y", [batch, 4])], weights | changed, ir_version=8
    )


X = normal(0, 40, 6)
Y = np.arange(40) % 4


def is_pruned(proto: ModelProto, data: Any, **options: Any) -> onnx_lobs.PruneResult:
    """Prune to one half and see that onnxruntime runs the result with that many zeros."""
    result = onnx_lobs.prune(proto, data, **QUICK, **options)
    assert result.report.totals.sparsity == HALF
    onnxruntime.InferenceSession(
        result.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return result


# --- weights that are listed as inputs


@pytest.mark.parametrize("listed", [["w1", "b1", "w2", "b2"], ["w2"], ["b1"]])
def test_initializers_listed_as_inputs_are_pruned_and_stay_listed(listed: list[str]) -> None:
    proto = mlp()
    for name in listed:
        dims = initializer(proto, name).shape
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
    result = is_pruned(proto, X, storage="sparse")
    assert [i.name for i in result.model.graph.input] == ["x", *listed]


# --- values without a shape


def test_a_model_without_the_shapes_of_input_and_output_is_pruned(tmp_path: Path) -> None:
    proto = mlp()
    for info in (proto.graph.input[0], proto.graph.output[0]):
        info.type.tensor_type.ClearField("shape")
    is_pruned(proto, X)
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    np.savez(tmp_path / "m.npz", x=X)
    with pytest.raises(SystemExit) as done:
        _command("m.onnx", tmp_path)
    assert done.value.code == 0


def _command(name: str, folder: Path, *more: str) -> None:
    from onnx_lobs.cli.main import main

    main([str(folder / name), "-q", "--min-weights", "8", "--effort", "fast", *more])


# --- a batch that is open outside and fixed inside


def fixed_at(size: int) -> ModelProto:
    nodes = [NODE("Reshape", ["x", "s"], ["f"]), NODE("Gemm", ["f", "w"], ["y"], name="fc")]
    weights = {"s": np.array([size, 12]), "w": normal(1, 12, 4)}
    return model(nodes, [value("x", ["batch", 3, 4])], [value("y", ["batch", 4])], weights)


def started_from_one() -> ModelProto:
    """A recurrence whose first state is a constant of one sample."""
    nodes = [
        NODE("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        NODE("GRU", ["t", "w", "r", "", "", "h0"], ["", "h"], hidden_size=4),
        NODE("Squeeze", ["h", "zero"], ["s"]),
        NODE("Gemm", ["s", "v"], ["y"], name="fc"),
    ]
    weights = {
        "w": normal(1, 1, 12, 4), "r": normal(2, 1, 12, 4), "h0": normal(3, 1, 1, 4),
        "zero": np.array([0]), "v": normal(4, 4, 4),
    }  # fmt: skip
    return model(nodes, [value("x", ["batch", 3, 4])], [value("y", ["batch", 4])], weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("proto", "n"), [(fixed_at(1), 1), (fixed_at(4), 4), (started_from_one(), 1)]
)
def test_a_batch_that_is_fixed_inside_is_found_and_told(proto: ModelProto, n: int) -> None:
    x = normal(0, 24, 3, 4)
    found = is_pruned(proto, x, test={"x": x, "label": np.arange(24) % 4})
    note = f"the model takes {n} sample{'s' * (n > 1)} a call, fixed inside it"
    assert found.report.warnings[:2] == (note, f"test data: {note}")
    assert found.report.output.score is not None
    made_up = is_pruned(proto, None)
    assert note in made_up.report.warnings
    evaluation = onnx_lobs.evaluate(proto, found.model, x)
    assert note in evaluation.warnings
    assert evaluation.samples == 24


# --- a batch on another axis, and inputs without one


def voice(names: bool = True) -> ModelProto:
    """A voice detector: sound, a state with the batch on axis 1, a rate without any."""
    nodes = [
        NODE("ReduceMean", ["state"], ["m"], axes=[0], keepdims=0),
        NODE("Concat", ["input", "m"], ["c"], axis=1),
        NODE("Gemm", ["c", "w"], ["g"], name="fc"),
        NODE("Cast", ["rate"], ["f"], to=TensorProto.FLOAT),
        NODE("Div", ["g", "f"], ["y"]),
    ]
    batch = "batch" if names else None
    inputs = [
        value("input", [batch, 8]), value("state", [2, batch, 4]),
        value("rate", [], TensorProto.INT64),
    ]  # fmt: skip
    return model(nodes, inputs, [value("y", [batch, 6])], {"w": normal(1, 12, 6)})


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_states_with_the_batch_on_axis_1_and_a_scalar_are_given_as_they_are(
    names: bool, is_first: bool
) -> None:
    state = normal(2, 40, 2, 4)
    arrays = {"input": normal(1, 40, 8), "rate": np.array(16000)}
    arrays["state"] = state if is_first else np.moveaxis(state, 0, 1).copy()
    result = is_pruned(voice(names), arrays)
    assert ("put along axis 1" in " ".join(result.report.warnings)) is is_first
    assert "40 samples" in result.report.data
    is_pruned(voice(names), None)  # made-up ones too


def time_major() -> ModelProto:
    nodes = [
        NODE("MatMul", ["x", "w"], ["h"], name="fc"),
        NODE("ReduceMean", ["h"], ["y"], axes=[0], keepdims=0),
    ]
    return model(nodes, [value("x", [5, "N", 8])], [value("y", ["N", 6])], {"w": normal(1, 8, 6)})


def test_a_time_major_model_scores_each_sample_of_a_stack() -> None:
    stack = normal(0, 40, 5, 8)
    proto = time_major()
    labels = run(proto, x=np.moveaxis(stack, 0, 1))["y"].argmax(axis=1)
    result = is_pruned(proto, stack, test={"x": stack, "label": labels})
    assert result.report.output.score is not None
    assert (result.report.output.score.n, result.report.output.score.before) == (40, 1.0)


# --- models without a batch axis


def without_batch(*shape: int) -> ModelProto:
    nodes = [
        NODE("Flatten", ["x"], ["f"], axis=0),
        NODE("Gemm", ["f", "w"], ["y"], name="fc"),
    ]
    size = int(np.prod(shape))
    return model(nodes, [value("x", list(shape))], [value("y", [1, 4])], {"w": normal(1, size, 4)})


@pytest.mark.parametrize("shape", [(3, 4, 4), (12,), (2, 8)])
def test_a_stack_for_a_model_without_a_batch_axis_is_fed_sample_by_sample(
    shape: tuple[int, ...],
) -> None:
    proto, stack = without_batch(*shape), normal(0, 40, *shape)
    labels = np.array([run(proto, x=one)["y"].argmax() for one in stack])
    result = is_pruned(proto, stack, test={"x": stack, "label": labels})
    assert "40 samples" in result.report.data
    assert result.report.output.score is not None
    assert (result.report.output.score.n, result.report.output.score.before) == (40, 1.0)


# --- names with the signs of a glob


@pytest.mark.slow
@pytest.mark.parametrize("name", ["layers[0].fc", "what?", "a*[b"])
def test_a_layers_full_name_matches_it_whatever_it_holds(name: str) -> None:
    proto = mlp()
    proto.graph.node[0].name, proto.graph.node[2].name = name, "other"
    names = [layer.name for layer in is_pruned(proto, X, include=name).report.layers]
    assert names == [name]
    names = [layer.name for layer in is_pruned(proto, X, exclude=(name,)).report.layers]
    assert names == ["other"]
    for option in ("layer_sparsity", "layer_max"):
        result = onnx_lobs.prune(proto, X, **QUICK, **{option: {name: 0.25}})
        assert result.report.layers[0].sparsity == 0.25


# --- numbers that are none


def test_a_bias_that_rules_a_class_out_stays_and_the_rest_is_pruned() -> None:
    bias = np.array([0, -np.inf, 1, 2], np.float32)
    for sequential in (True, False):
        result = is_pruned(mlp(b2=bias), X, sequential=sequential)
        np.testing.assert_array_equal(initializer(result.model, "b2"), bias)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"w1": np.full((6, 16), np.nan, np.float32)}, "weight 'w1' of 'fc1' holds NaN"),
        ({"b1": np.full(16, np.nan, np.float32)}, "bias 'b1' of 'fc1' holds NaN"),
    ],
)
def test_weights_that_are_no_numbers_are_named(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        onnx_lobs.prune(mlp(**changed), X, **QUICK)


def test_a_constant_that_poisons_what_is_behind_it_is_named() -> None:
    broken = mlp(w1=np.full((6, 16), np.nan, np.float32))
    with pytest.raises(
        NotFiniteError, match=r"model's own 'w1', which Gemm 'fc1' reads, holds NaN"
    ):
        onnx_lobs.prune(broken, X, **QUICK, exclude="fc1")


@pytest.mark.parametrize("sequential", [True, False])
def test_one_sample_that_becomes_nan_inside_is_named(sequential: bool) -> None:
    nodes = [NODE("Sqrt", ["x"], ["s"]), NODE("MatMul", ["s", "w"], ["y"], name="fc")]
    proto = model(nodes, [value("x", ["N", 6])], ["y"], {"w": normal(1, 6, 8)})
    x = np.abs(X)
    x[17, 2] = -1
    with pytest.raises(NotFiniteError, match=r"so it is on sample 17 \(1 of 40, counted from 0\)"):
        onnx_lobs.prune(proto, x, **QUICK, sequential=sequential)


# --- what a program hands over


def test_labels_that_are_one_hot_are_taken_and_told() -> None:
    one_hot = np.eye(4)[Y]
    result = is_pruned(mlp(), X, test=(X, one_hot))
    plain = is_pruned(mlp(), X, test=(X, Y))
    assert result.report.output == plain.report.output
    assert any("labels were one-hot" in note for note in result.report.warnings)
    evaluation = onnx_lobs.evaluate(mlp(), result.model, (X, one_hot))
    assert [score.name for score in evaluation.scores] == ["top1"]
    assert any("labels were one-hot" in note for note in evaluation.warnings)


def test_a_function_scores_and_a_function_is_told_of_progress() -> None:
    def mean(run: Any, batches: Any) -> float:
        return float(np.mean([run(feeds)["y"].mean() for feeds, _ in batches]))

    phases: list[str] = []
    result = is_pruned(
        mlp(), X, test=X, score=mean, progress=lambda phase, done, total: phases.append(phase)
    )
    assert result.report.output.score is not None
    assert result.report.output.score.name == "mean"
    assert result.report.options["score"] == "mean"
    assert json.loads(result.report.to_json())["options"]["score"] == "mean"
    assert len(set(phases)) > 1


def test_a_score_with_a_lock_inside_is_not_copied(tmp_path: Path) -> None:
    import threading

    class Judge:
        def __init__(self) -> None:
            self.lock = threading.Lock()  # which cannot be copied

        def __call__(self, run: Any) -> float:
            return 1.0

    result = is_pruned(mlp(), X, score=Judge(), cache=tmp_path)
    assert result.report.options["score"] == "Judge"


def test_results_are_one_short_line_and_go_where_a_model_goes() -> None:
    result = is_pruned(mlp(), X)
    assert repr(result).startswith(
        "<PruneResult 'g': 80 of 160 weights zero (50.0 %) in 2 layers, "
    )
    assert repr(result.report).startswith("<Report 'g': 80 of 160 weights zero (50.0 %)")
    evaluation = onnx_lobs.evaluate(mlp(), result, (X, Y))
    assert repr(evaluation).startswith("<Evaluation of 'model': 50.0 % of 160 weights zero, output")
    for one in (result, result.report, evaluation):
        assert len(repr(one)) < 150
        assert "\n" not in repr(one)
    unknown = dataclasses.replace(result.report.output, error=None)
    assert repr(dataclasses.replace(result.report, output=unknown)).endswith("error unknown>")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"progress": 3}, "progress is int, which cannot be told of steps"),
        ({"device": "cuda"}, "'device' is unknown; did you mean provider"),
        ({"method": "sparsgpt"}, "did you mean 'sparsegpt'"),
        ({"provider": "cudaa"}, "did you mean 'cuda'"),
    ],
)
def test_what_is_not_possible_is_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        onnx_lobs.prune(mlp(), X, **options)


def test_another_librarys_model_is_one_sentence() -> None:
    with pytest.raises(LobsError, match=r"the model given is of type builtins.int; give the path"):
        onnx_lobs.prune(3, X)  # type: ignore[arg-type]
