"""Every kind of model is pruned, or skipped with a reason; nothing but weights and biases moves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from build_onnx import Array, branch, constant, initializer, model, normal, run, tensor, value
from onnx import ModelProto, TensorProto, helper

import onnx_lobs
from onnx_lobs.errors import ConfigError, DataError, InferenceError, LobsError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.deliver import PROVENANCE
from onnx_lobs.run.selection import NothingToPruneError
from onnx_lobs.verbs.prune import prune_file

NODE = helper.make_node
SMALL = {"min_weights": 8, "samples": 24, "batch_size": 8, "allocation": "uniform"}
NEWEST = min(onnx.defs.onnx_opset_version(), 22)  # of which onnxruntime knows every operator here


def classifier(opset: int = 17, ir_version: int = 8) -> ModelProto:
    """Conv, Relu, Flatten, Gemm, MatMul, Add; with metadata, doc strings, a symbolic batch."""
    nodes = [
        NODE("Conv", ["x", "w1", "b1"], ["c"], name="conv", doc_string="first"),
        NODE("Relu", ["c"], ["r"]),
        NODE("Flatten", ["r"], ["f"]),
        NODE("Gemm", ["f", "w2", "b2"], ["g"], name="gemm", transB=1),
        NODE("MatMul", ["g", "w3"], ["m"], name="head"),
        NODE("Add", ["m", "b3"], ["y"]),
    ]
    weights = {
        "w1": normal(1, 4, 2, 3), "b1": normal(2, 4), "w2": normal(3, 6, 24), "b2": normal(7, 6),
        "w3": normal(4, 6, 5), "b3": normal(5, 5),
    }  # fmt: skip
    outputs = [value("y", ["n", 5])]
    inputs = [value("x", ["n", 2, 8])]
    proto = model(nodes, inputs, outputs, weights, opset=opset, ir_version=ir_version)
    proto.producer_name = "a producer"
    proto.doc_string = "a model"
    helper.set_model_props(proto, {"character": "abc", "author": "somebody"})
    return proto


def data(n: int = 24, seed: int = 0, **more: Array) -> dict[str, Array]:
    return {"x": normal(seed, n, 2, 8), **more}


def restored(after: ModelProto, before: ModelProto) -> bytes:
    """Return the pruned model with every changed tensor and the provenance put back."""
    copy = ModelProto()
    copy.CopyFrom(after)
    old = {t.name: t for t in before.graph.initializer}
    for t in copy.graph.initializer:
        t.CopyFrom(old[t.name])
    kept = [entry for entry in copy.metadata_props if entry.key != PROVENANCE]
    del copy.metadata_props[:]
    copy.metadata_props.extend(kept)
    return copy.SerializeToString(deterministic=True)


def count_zeros(proto: ModelProto, names: Sequence[str]) -> int:
    return sum(int((initializer(proto, name) == 0).sum()) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["joint", "magnitude", "lobs"])
@pytest.mark.parametrize("sequential", [False, True])
def test_only_weights_biases_and_provenance_differ(method: str, sequential: bool) -> None:
    proto = classifier()
    result = onnx_lobs.prune(proto, data(), method=method, sequential=sequential, **SMALL)
    assert restored(result.model, proto) == proto.SerializeToString(deterministic=True)
    names = ["w1", "w2", "w3"]
    assert result.report.totals.zeros == count_zeros(result.model, names)
    names += ["b1", "b2", "b3"] if method == "lobs" else []  # as released, it prunes biases too
    assert count_zeros(result.model, names) == 99  # half of 24 + 144 + 30
    (entry,) = [e for e in result.model.metadata_props if e.key == PROVENANCE]
    assert f"method={method}" in entry.value


@pytest.mark.slow
def test_the_input_is_not_touched(tmp_path: Path) -> None:
    proto = classifier()
    before = proto.SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(before)
    arrays = data()
    kept = {name: array.copy() for name, array in arrays.items()}
    results = [
        onnx_lobs.prune(source, arrays, **SMALL).model.SerializeToString(deterministic=True)
        for source in (proto, before, path, str(path))
    ]
    assert proto.SerializeToString() == before == path.read_bytes()
    assert all(np.array_equal(arrays[name], kept[name]) for name in kept)
    assert len(set(results)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"sequential": False}, {"method": "lobs"}])
def test_same_seed_same_bytes(options: dict[str, Any]) -> None:
    first, second = (
        onnx_lobs.prune(classifier(), data(), **SMALL, **options).model.SerializeToString(
            deterministic=True
        )
        for _ in range(2)
    )
    assert first == second


@pytest.mark.slow
def test_report_counts_what_the_model_holds() -> None:
    many = {**SMALL, "samples": 96, "batch_size": 32}
    result = onnx_lobs.prune(classifier(), data(96), **many)
    report = json.loads(result.report.to_json())
    for record, name in zip(report["layers"], ("w1", "w2", "w3"), strict=True):
        values = initializer(result.model, name)
        assert record["zeros"] == int((values == 0).sum())
        assert record["weights"] == values.size
    dense, pruned = run(classifier(), **data(96))["y"], run(result.model, **data(96))["y"]
    n, held = len(dense), report["output"]["n_held"]
    assert held == many["batch_size"]  # of three batches the last
    for name, part in (("error", slice(n - held, n)), ("fitted_error", slice(0, n - held))):
        measured = ((pruned - dense)[part] ** 2).sum() / (dense[part] ** 2).sum()
        assert report["output"][name] == pytest.approx(measured, rel=1e-4)  # float32 outputs


PLACES = np.arange(5)  # the columns that a branch without a layer shows


def if_model(*, deep: bool = False, plain: bool = False) -> ModelProto:
    """Branches by the sign of x's sum: a layer or, `deep`, two; a layer or, `plain`, none."""
    nodes, weights = [NODE("MatMul", ["f", "w"], ["t"], name="then")], {"w": normal(1, 16, 5)}
    if deep:
        nodes.insert(0, NODE("MatMul", ["g", "v"], ["f2"], name="first"))
        nodes[:0], weights["v"] = [NODE("Identity", ["f"], ["g"])], normal(3, 16, 16)
        nodes[-1].input[0] = "f2"
    then = branch(nodes, "t", **weights)
    other = branch([NODE("Gemm", ["f", "o"], ["e"], name="else")], "e")
    if plain:
        other = branch([NODE("Gather", ["f", "places"], ["e"], axis=1)], "e", places=PLACES)
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("ReduceSum", ["x"], ["s"], keepdims=0),
        constant("zero", np.float32(0)),
        NODE("Greater", ["s", "zero"], ["c"]),
        NODE("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    return model(nodes, [value("x", ["n", 2, 8])], [value("y", ["n", 5])], {"o": normal(2, 16, 5)})


def loop_model() -> ModelProto:
    body = helper.make_graph(
        [
            NODE("MatMul", ["h", "w"], ["t"], name="inner"),
            NODE("Identity", ["c"], ["k"]),
        ],
        "b",
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("h", None)],
        [value("k", [], TensorProto.BOOL), value("t", None)],
    )
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("Loop", ["n", "", "f"], ["l"], body=body),
        NODE("MatMul", ["l", "v"], ["y"], name="head"),
    ]
    weights = {"w": normal(1, 16, 16), "v": normal(2, 16, 5), "n": np.array(3)}
    return model(nodes, [value("x", ["n", 2, 8])], [value("y", ["n", 5])], weights)


def lstm_model() -> ModelProto:
    nodes = [
        NODE("LSTM", ["x", "w", "r"], ["l"], hidden_size=4, name="lstm"),
        NODE("Flatten", ["l"], ["f"], axis=3),
        NODE("MatMul", ["f", "v"], ["y"], name="head"),
    ]
    weights = {"w": normal(1, 1, 16, 8), "r": normal(2, 1, 16, 4), "v": normal(3, 4, 5)}
    return model(nodes, [value("x", ["n", 2, 8])], [value("y", [None, 5])], weights)


def qdq_model() -> ModelProto:
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("QuantizeLinear", ["f", "s", "z"], ["q"]),
        NODE("DequantizeLinear", ["q", "s", "z"], ["d"]),
        NODE("DequantizeLinear", ["w", "s"], ["e"]),
        NODE("MatMul", ["d", "e"], ["m"], name="quantised"),
        NODE("MatMul", ["m", "v"], ["y"], name="head"),
    ]
    weights = {
        "w": np.random.default_rng(1).integers(-90, 90, (16, 6), np.int8), "v": normal(2, 6, 5),
        "s": np.array(0.05, np.float32), "z": np.array(0, np.int8),
    }  # fmt: skip
    return model(nodes, [value("x", ["n", 2, 8])], [value("y", ["n", 5])], weights)


def tied_model() -> ModelProto:
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("Gemm", ["f", "w"], ["a"], name="tied"),
        NODE("Relu", ["a"], ["b"]),
        NODE("Gemm", ["b", "w", "c"], ["y"], name="again"),
    ]
    weights = {"w": normal(1, 16, 16), "c": normal(2, 16)}
    return model(nodes, [value("x", ["n", 2, 8])], [value("y", ["n", 16])], weights)


def sparse_model() -> ModelProto:
    proto = classifier()
    index = next(i for i, t in enumerate(proto.graph.initializer) if t.name == "w2")
    dense = initializer(proto, "w2").copy()
    dense[np.abs(dense) < 0.3] = 0
    flat = np.flatnonzero(dense)
    del proto.graph.initializer[index]
    proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(tensor("w2", dense.ravel()[flat]), tensor("", flat), dense.shape)
    )
    return proto


def function_model() -> ModelProto:
    function = helper.make_function(
        "own", "Linear", ["a", "b"], ["c"],
        [NODE("MatMul", ["a", "b"], ["c"])], [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("Linear", ["f", "w"], ["g"], domain="own", name="call"),
        NODE("MatMul", ["g", "v"], ["y"], name="head"),
    ]
    weights = {"w": normal(1, 16, 6), "v": normal(2, 6, 5)}
    return model(
        nodes, [value("x", ["n", 2, 8])], [value("y", ["n", 5])], weights,
        domains=["own"], functions=[function],
    )  # fmt: skip


def pass_through_model() -> ModelProto:
    """An int64 input that is also an output, and a shape as another."""
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("MatMul", ["f", "w"], ["y"], name="head"),
        NODE("Shape", ["x"], ["size"]),
        NODE("Identity", ["ids"], ["same"]),
    ]
    inputs = [value("x", ["n", 2, 8]), value("ids", ["n"], TensorProto.INT64)]
    outputs = [
        value("y", ["n", 5]), value("size", [3], TensorProto.INT64),
        value("same", ["n"], TensorProto.INT64),
    ]  # fmt: skip
    return model(nodes, inputs, outputs, {"w": normal(1, 16, 5)})


def constants_model(dtype: Any = np.float32) -> ModelProto:
    """Weights in Constant nodes and behind a Transpose, as Paddle writes them."""
    elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        constant("w", normal(1, 4, 2, 3).astype(dtype)),
        NODE("Conv", ["x", "w"], ["c"], name="conv"),
        NODE("Flatten", ["c"], ["f"]),
        constant("v", normal(2, 5, 24).astype(dtype)),
        NODE("Transpose", ["v"], ["t"]),
        NODE("MatMul", ["f", "t"], ["m"], name="head"),
        constant("b", normal(3, 5).astype(dtype)),
        NODE("Add", ["m", "b"], ["y"]),
    ]
    inputs = [value("x", ["n", 2, 8], elem_type)]
    outputs = [value("y", ["n", 5], elem_type)]
    return model(nodes, inputs, outputs, opset=22, ir_version=10)


def dynamic_model() -> ModelProto:
    """Open height and width with odd names, channels last in between."""
    nodes = [
        NODE("Unsqueeze", ["x", "axis"], ["u"]),
        NODE("Conv", ["u", "w"], ["c"], name="conv", auto_pad="SAME_UPPER", strides=[1, 2]),
        NODE("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        NODE("MatMul", ["t", "v"], ["m"], name="head"),
        NODE("Add", ["m", "b"], ["y"]),
    ]
    weights = {
        "axis": np.array([1]), "w": normal(1, 6, 1, 3, 3), "v": normal(2, 6, 5), "b": normal(3, 5),
    }  # fmt: skip
    out = value("y", [None, None, "floor(W/2 + 1/2)", 5])
    return model(nodes, [value("x", ["N!", "H-1", "W"])], [out], weights)


KINDS: dict[str, tuple[Callable[[], ModelProto], set[str], dict[str, str]]] = {
    "opset 7": (lambda: classifier(7), {"conv", "gemm", "head"}, {}),
    "newest opset": (lambda: classifier(NEWEST, 10), {"conv", "gemm", "head"}, {}),
    "ir 3": (lambda: classifier(9, 3), {"conv", "gemm", "head"}, {}),
    "if": (if_model, {"then", "else"}, {}),
    "loop": (loop_model, {"inner", "head"}, {}),
    "lstm": (lstm_model, {"lstm.W", "lstm.R", "head"}, {}),
    "qdq": (qdq_model, {"head"}, {"quantised": "quantised, made by DequantizeLinear"}),
    "tied": (tied_model, {"tied"}, {}),
    "sparse": (sparse_model, {"conv", "gemm", "head"}, {}),
    "function": (function_model, {"w", "head"}, {}),
    "pass-through": (pass_through_model, {"head"}, {}),
    "constants": (constants_model, {"conv", "head"}, {}),
    "fp16": (lambda: constants_model(np.float16), {"conv", "head"}, {}),
    "bf16": (lambda: constants_model(ml_dtypes.bfloat16), {"conv", "head"}, {}),
    "fp64": (lambda: constants_model(np.float64), {"conv", "head"}, {}),
    "dynamic": (dynamic_model, {"conv", "head"}, {}),
}


@pytest.mark.parametrize("sequential", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_is_pruned_or_skipped_with_a_reason(
    kind: str, sequential: bool, tmp_path: Path
) -> None:
    make, pruned, skipped = KINDS[kind]
    proto = make()
    path, output = tmp_path / "m.onnx", tmp_path / "out.onnx"
    path.write_bytes(proto.SerializeToString())
    arrays = data(ids=np.arange(24)) if kind == "pass-through" else data()
    config = PruneConfig(sequential=sequential, **SMALL)  # type: ignore[arg-type]
    report = prune_file(path, output, config, data=arrays)
    assert {record.name for record in report.layers} == pruned
    assert all(0.4 < record.sparsity < 0.6 for record in report.layers)
    reasons = {skip.node: skip.reason for skip in report.skipped}
    assert all(text in reasons[node] for node, text in skipped.items())
    assert set(reasons) == set(skipped)
    onnx.checker.check_model(output)
    after = onnx.load(output)
    assert after.opset_import == proto.opset_import
    assert after.ir_version == proto.ir_version
    assert [i.name for i in after.graph.input][: len(proto.graph.input)] == [
        i.name for i in proto.graph.input
    ]
    assert list(after.graph.output) == list(proto.graph.output)
    if kind not in ("bf16", "fp64"):  # which onnxruntime's CPU provider cannot run
        dtype = np.float16 if kind == "fp16" else np.float32
        feeds = {"x": arrays["x"].astype(dtype)} | {k: v for k, v in arrays.items() if k != "x"}
        before = run(proto, **feeds)
        for name, array in run(after, **feeds).items():
            assert array.shape == before[name].shape
            assert np.isfinite(array).all()
            assert array.dtype == np.int64 or not np.array_equal(array, before[name])


def test_metadata_is_kept() -> None:
    result = onnx_lobs.prune(classifier(), data(), **SMALL).model
    found = {entry.key: entry.value for entry in result.metadata_props}
    assert found["character"] == "abc"
    assert found["author"] == "somebody"
    assert (result.producer_name, result.doc_string) == ("a producer", "a model")
    assert result.graph.node[0].doc_string == "first"


def test_branch_that_no_batch_takes_is_skipped() -> None:
    arrays = data()
    arrays["x"] = np.abs(arrays["x"])
    report = onnx_lobs.prune(if_model(), arrays, **SMALL).report
    assert [record.name for record in report.layers] == ["then"]
    assert [(skip.node, skip.reason) for skip in report.skipped] == [
        ("else", "never reached on the calibration data")
    ]


def test_inputs_that_were_made_up_and_do_not_fit_are_named_as_such() -> None:
    """The windows are longer than the length that is made up for an open axis."""
    weights = {"w": normal(1, 4, 2, 40)}
    nodes = [NODE("Conv", ["x", "w"], ["y"], name="conv")]
    proto = model(nodes, [value("x", ["n", 2, "samples"])], [value("y", None)], weights)
    short = {"x": normal(2, 24, 2, 32)}
    for options in SMALL, {**SMALL, "batch_size": None}:
        with pytest.raises(InferenceError, match=r"made up.* -d, or sizes .*--input-shape"):
            onnx_lobs.prune(proto, **options)
        with pytest.raises(InferenceError) as found:
            onnx_lobs.prune(proto, short, **options)
        assert "made up" not in str(found.value)
    report = onnx_lobs.prune(proto, **SMALL, input_shapes={"x": (8, 2, 64)}).report
    assert report.output.error is not None


def test_ids_that_are_made_up_choose_rows_that_a_table_has() -> None:
    nodes = [
        NODE("Cast", ["ids"], ["long"], to=TensorProto.INT64),
        NODE("Gather", ["table", "long"], ["e"]),
        NODE("MatMul", ["e", "w"], ["y"], name="dense"),
    ]
    inputs = [value("ids", ["n", 7], TensorProto.INT32)]
    weights = {"table": normal(1, 12, 16), "w": normal(2, 16, 8)}
    report = onnx_lobs.prune(model(nodes, inputs, [value("y", None)], weights), **SMALL).report
    assert [record.name for record in report.layers] == ["dense"]
    assert report.output.error is not None


@pytest.mark.parametrize("allocation", ["uniform", "global", "auto"])
@pytest.mark.parametrize("reached", [0, 1])
def test_fewer_than_two_layers_that_data_reach_leave_no_choice(
    allocation: str, reached: int
) -> None:
    arrays = data()
    arrays["x"] = np.abs(arrays["x"]) if reached else -np.abs(arrays["x"])
    proto = if_model(deep=not reached, plain=not reached)
    result = onnx_lobs.prune(proto, arrays, **{**SMALL, "allocation": allocation})
    assert len(result.report.layers) == reached
    assert result.report.totals.zeros == result.report.totals.weights // 2
    assert {skip.reason for skip in result.report.skipped} == {
        "never reached on the calibration data"
    }


def test_measured_zeros_are_shared_among_the_layers_that_data_reach() -> None:
    arrays = data()
    arrays["x"] = np.abs(arrays["x"])
    proto = if_model(deep=True)
    report = onnx_lobs.prune(proto, arrays, **{**SMALL, "allocation": "global"}).report
    assert report.allocation is not None
    assert [record.name for record in report.layers] == ["first", "then"]
    assert report.totals.zeros == report.totals.weights // 2


@pytest.mark.parametrize(
    ("proto", "options", "why"),
    [
        (
            pass_through_model(),
            {"min_weights": 1000},
            r"skipped, 1 of them for '.*fewer than 1000'",
        ),
        (qdq_model(), {"exclude": ("head",)}, r"2 nodes .* 1 of them for '.*'; `onnx-lobs inspect"),
        (model([NODE("Relu", ["x"], ["y"])], [value("x", ["n", 2, 8])], ["y"]), {}, "no Conv, "),
    ],
    ids=["all too small", "all excluded", "no weights"],
)
def test_nothing_to_prune_is_an_error(proto: ModelProto, options: dict[str, Any], why: str) -> None:
    with pytest.raises(NothingToPruneError, match=f"nothing to prune: .*{why}"):
        onnx_lobs.prune(proto, data(), **{**SMALL, **options})


def test_sparsity_of_zero_changes_no_weight() -> None:
    proto = classifier()
    result = onnx_lobs.prune(proto, data(), sparsity=0.0, **SMALL)
    for t in proto.graph.initializer:
        assert np.array_equal(initializer(result.model, t.name), initializer(proto, t.name))
    assert {record.status for record in result.report.layers} == {"left dense"}


def test_layer_sparsity_overrides_the_rest() -> None:
    result = onnx_lobs.prune(classifier(), data(), layer_sparsity={"gemm": 0.75}, **SMALL)
    assert int((initializer(result.model, "w2") == 0).sum()) == 108


def test_unknown_options_and_methods_are_errors() -> None:
    with pytest.raises(ConfigError, match="option 'sparsty' is unknown; did you mean sparsity"):
        onnx_lobs.prune(classifier(), data(), sparsty=0.5)
    with pytest.raises(ConfigError, match="method 'best' is unknown; choose one of joint"):
        onnx_lobs.prune(classifier(), data(), method="best")
    with pytest.raises(ConfigError, match="layer sparsity 'nobody' matches no layer"):
        onnx_lobs.prune(classifier(), data(), layer_sparsity={"nobody": 0.5}, **SMALL)


def test_values_that_overflow_inside_the_network_are_a_data_error() -> None:
    arrays = data()
    arrays["x"][0] = 1e30
    with pytest.raises(DataError, match="becomes NaN or infinite, or too large to square"):
        onnx_lobs.prune(classifier(), arrays, **SMALL)


def test_synthetic_data_come_with_a_warning() -> None:
    report = onnx_lobs.prune(classifier(), None, **SMALL).report
    assert "random inputs were used" in report.warnings[0]


@pytest.mark.slow
def test_external_data_stay_external(tmp_path: Path) -> None:
    proto = classifier()
    path, output = tmp_path / "in" / "m.onnx", tmp_path / "out" / "p.onnx"
    path.parent.mkdir()
    output.parent.mkdir()
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=64)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    config = PruneConfig(**SMALL)  # type: ignore[arg-type]
    prune_file(path, output, config, data=data())
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    found = onnx.load(output, load_external_data=False)
    old = onnx.load(path, load_external_data=False)
    places = [[t.data_location for t in p.graph.initializer] for p in (found, old)]
    assert places[0] == places[1]
    in_memory = onnx_lobs.prune(classifier(), data(), **SMALL).model
    loaded = onnx.load(output)
    for t in in_memory.graph.initializer:
        assert np.array_equal(initializer(loaded, t.name), initializer(in_memory, t.name))


def test_file_and_memory_give_the_same_model(tmp_path: Path) -> None:
    path, output = tmp_path / "m.onnx", tmp_path / "p.onnx"
    path.write_bytes(classifier().SerializeToString())
    config = PruneConfig(**SMALL)  # type: ignore[arg-type]
    report = prune_file(path, output, config, data=data())
    result = onnx_lobs.prune(path, data(), **SMALL)
    assert onnx.load(output) == result.model
    assert report.output_path == str(output)
    assert report.totals.file_bytes is not None
    assert report.totals.file_bytes[1] == output.stat().st_size
    with pytest.raises(LobsError, match="exists"):
        prune_file(path, output, config, data=data())


def test_progress_is_told_of_every_layer() -> None:
    phases: list[tuple[str, int]] = []
    steps: list[int] = []

    class Log:
        def start(self, phase: str, total: int) -> None:
            phases.append((phase, total))
            steps.append(0)

        def advance(self, n: int = 1) -> None:
            steps[-1] += n

    onnx_lobs.prune(classifier(), data(), progress=Log(), sequential=False, correct=False, **SMALL)
    assert phases == [
        ("1 of 2: calibrating and solving (inputs)", 3),
        ("1 of 2: calibrating and solving (layers)", 3),
        ("2 of 2: evaluating (outputs)", 3),
        ("2 of 2: evaluating (other fits)", 2),
    ]
    assert steps == [3, 3, 3, 2]


@pytest.mark.parametrize("seed", range(4))
def test_file_in_bfloat16_is_compared_to_the_rounding_of_its_biases(
    tmp_path: Path, seed: int
) -> None:
    half = TensorProto.BFLOAT16
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("Relu", ["a"], ["b"]),
        NODE("Gemm", ["b", "v", "c"], ["y"]),
    ]
    shapes = {"w": (12, 16), "v": (16, 8), "c": (8,)}
    weights = {
        name: (normal(4 * seed + i, *shape) * 0.3).astype(ml_dtypes.bfloat16)
        for i, (name, shape) in enumerate(shapes.items())
    }
    proto = model(nodes, [value("x", [None, 12], half)], [value("y", [None, 8], half)], weights)
    onnx.save(proto, tmp_path / "m.onnx")
    config = PruneConfig(**SMALL, method="magnitude", pattern="4x1")
    report = prune_file(tmp_path / "m.onnx", tmp_path / "o.onnx", config)
    assert report.totals.zeros == (12 * 16 + 16 * 8) // 2
    assert any("run in float32" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    "name", [b"gr\xf6\xdfe.onnx", "größe.onnx".encode(), b"x" * 243 + b".onnx"]
)
def test_models_and_folders_of_any_name_are_pruned(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name.replace(b".onnx", b""))
    folder.mkdir()
    path, output = folder / os.fsdecode(name), folder / os.fsdecode(b"o" + name[1:])
    path.write_bytes(classifier().SerializeToString())
    report = prune_file(path, output, PruneConfig(**SMALL, method="magnitude"))
    assert report.totals.zeros > 0
    assert json.loads(report.to_json())["output_path"] == str(output)
    assert run(onnx.ModelProto.FromString(output.read_bytes()), x=data()["x"][:8])
