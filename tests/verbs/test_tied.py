"""Weights that other nodes read too: dense unless `tied` is prune, then true for all readers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from build_onnx import Array, branch, model, normal, run, value
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx import numpy_helper as nh

import onnx_lobs
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.errors import UnsupportedOpError
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.layer import Layer, Skip
from onnx_lobs.layers.refusal import RefusalKind

NODE = helper.make_node
WORDS, WIDTH = 40, 12
FLOAT32_SUMS = 1e-5  # absolute, on errors of 0.05 to 1
PRUNE = LayerFilter(prunes_tied=True)


def find(
    proto: ModelProto, selection: LayerFilter | None = None
) -> tuple[tuple[Layer, ...], tuple[Skip, ...]]:
    return find_layers(Model(proto, None), selection)


def language_model(*, is_stored_turned: bool = False) -> ModelProto:
    """Words to vectors, a hidden layer, and scores of words by the same table."""
    table = normal(1, WORDS, WIDTH)
    turn = NODE("Transpose", ["w"], ["t"])
    by_row, by_column = ("t", "w") if is_stored_turned else ("w", "t")
    nodes = [
        turn,
        NODE("Gather", [by_row, "ids"], ["e"], name="look up"),
        NODE("MatMul", ["e", "v"], ["h"], name="hidden"),
        NODE("Relu", ["h"], ["r"]),
        NODE("MatMul", ["r", "u"], ["s"], name="back"),
        NODE("MatMul", ["s", by_column], ["y"], name="head"),
    ]
    weights = {
        "w": np.ascontiguousarray(table.T) if is_stored_turned else table,
        "v": normal(2, WIDTH, 16),
        "u": normal(3, 16, WIDTH),
    }
    inputs = [value("ids", ["n", 6], TensorProto.INT64)]
    return model(nodes, inputs, ["y", "h", "s"], weights)


def words(count: int = 60) -> dict[str, Array]:
    return {"ids": np.random.default_rng(0).integers(0, WORDS, (count, 6))}


def weight(proto: ModelProto, name: str = "w") -> Array:
    return next(nh.to_array(t) for t in proto.graph.initializer if t.name == name)


def test_a_table_that_is_the_head_too_stays_dense_and_says_how_not_to() -> None:
    layers, (skip,) = find(language_model())
    assert [layer.name for layer in layers] == ["hidden", "back"]
    assert skip.refusal.kind is RefusalKind.READ_ELSEWHERE
    assert "also read by Gather 'look up', which pruning would change" in skip.reason
    assert "--tied prune" in skip.reason


def test_including_a_tied_weight_by_name_says_how_it_is_pruned() -> None:
    with pytest.raises(UnsupportedOpError, match="--tied prune"):
        find(language_model(), LayerFilter(include=("head",)))


@pytest.mark.parametrize("is_stored_turned", [False, True])
@pytest.mark.parametrize("sequential", [False, True])
def test_both_readers_see_the_pruned_table(is_stored_turned: bool, sequential: bool) -> None:
    proto = language_model(is_stored_turned=is_stored_turned)
    # batches that are alike: what is held out shows the error that all samples have
    alike = {"ids": np.tile(words(32)["ids"], (4, 1))}
    result = onnx_lobs.prune(
        proto, alike, tied="prune", sparsity=0.5, allocation="uniform", sequential=sequential,
        batch_size=32,
    )  # fmt: skip
    table = weight(result.model)
    assert (table == 0).sum() == table.size // 2
    assert {layer.name for layer in result.report.layers} == {"hidden", "back", "head"}
    rows = table.T if is_stored_turned else table
    shown = run(result.model, **words(3))
    looked_up = rows[words(3)["ids"]]
    assert shown["h"] == pytest.approx(looked_up @ weight(result.model, "v"), abs=1e-5)
    assert result.report.output.error == pytest.approx(
        _change(proto, result.model, alike), rel=1e-4
    )


def _change(dense: ModelProto, pruned: ModelProto, data: dict[str, Array]) -> float:
    """The relative squared change of all outputs."""
    before, after = run(dense, **data), run(pruned, **data)
    changed = sum(float(((after[k] - before[k]) ** 2).sum()) for k in before)
    return changed / sum(float((x**2).sum()) for x in before.values())


@pytest.mark.parametrize("name", ["hidden", "back"])
def test_later_layers_are_solved_on_what_the_pruned_table_gives(name: str) -> None:
    proto, data = language_model(), words()
    result = onnx_lobs.prune(
        proto, [data], tied="prune", sparsity=0.5, allocation="uniform", sequential=True
    )
    record = next(layer for layer in result.report.layers if layer.name == name)
    output = {"hidden": "h", "back": "s"}[name]
    before, after = run(proto, **data)[output], run(result.model, **data)[output]
    measured = float(((after - before) ** 2).sum() / (before**2).sum())
    assert measured > 0.01
    assert record.error == pytest.approx(measured, abs=FLOAT32_SUMS)


def test_the_head_is_solved_before_the_first_reader() -> None:
    first, *others = find_shared_inputs(find(language_model(), PRUNE)[0])
    assert first.layers[0].name == "head"
    assert first.layers[0].other_tops == (1,)
    assert first.top == 1
    assert first.is_tied
    assert not any(shared.is_tied for shared in others)


def square(nodes: Sequence[NodeProto], outputs: Sequence[str] = ("y",)) -> ModelProto:
    weights = {"w": normal(1, 12, 12), "v": normal(2, 12, 12)}
    return model(nodes, [value("x", ["n", 12])], list(outputs), weights)


def tied_encoder() -> ModelProto:
    """An autoencoder whose decoder reads the encoder's weight the other way round."""
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="encoder"),
        NODE("Relu", ["a"], ["r"]),
        NODE("Gemm", ["r", "w"], ["z"], name="decoder", transB=1),
        NODE("MatMul", ["z", "v"], ["y"], name="last"),
    ]
    return square(nodes, ["y", "z"])


def scaled_elsewhere() -> ModelProto:
    """A weight that is also multiplied element by element, behind its use."""
    nodes = [
        NODE("MatMul", ["x", "w"], ["z"], name="product"),
        NODE("Mul", ["z", "z"], ["q"]),
        NODE("Transpose", ["w"], ["t"]),
        NODE("ReduceMean", ["t"], ["m"], axes=[0], keepdims=1),
        NODE("Mul", ["q", "m"], ["c"], name="scale"),
        NODE("MatMul", ["c", "v"], ["y"], name="last"),
    ]
    return square(nodes, ["y", "c"])


def read_in_a_branch() -> ModelProto:
    """A weight that a branch reads, in front of its use."""
    other = branch(
        [NODE("ReduceMax", ["w"], ["m"], keepdims=0), NODE("Add", ["x", "m"], ["a"])], "a"
    )
    same = branch([NODE("Identity", ["x"], ["b"])], "b")
    nodes = [
        NODE("ReduceSum", ["x"], ["sum"], keepdims=0),
        NODE("IsNaN", ["sum"], ["never"]),
        NODE("If", ["never"], ["i"], name="if", then_branch=same, else_branch=other),
        NODE("MatMul", ["i", "v"], ["k"], name="last"),
        NODE("MatMul", ["k", "w"], ["y"], name="product"),
    ]
    return square(nodes, ["y", "k"])


SHARED = {
    "in two orientations": (tied_encoder, "last", "y", RefusalKind.TIED),
    "by another product": (scaled_elsewhere, "last", "y", RefusalKind.READ_ELSEWHERE),
    "in a branch": (read_in_a_branch, "last", "k", RefusalKind.READ_ELSEWHERE),
}


@pytest.mark.parametrize("kind", SHARED)
def test_other_sharings_are_pruned_where_the_user_says_so(kind: str) -> None:
    make, name, output, refusal = SHARED[kind]
    _, skips = find(make())
    assert {skip.refusal.kind for skip in skips} == {refusal}
    assert all("--tied prune" in skip.reason for skip in skips)
    data = {"x": normal(5, 200, 12) + 0.3}
    result = onnx_lobs.prune(
        make(), [data], tied="prune", sparsity=0.5, allocation="uniform", sequential=True
    )
    assert (weight(result.model) == 0).sum() == 72
    before, after = run(make(), **data)[output], run(result.model, **data)[output]
    measured = float(((after - before) ** 2).sum() / (before**2).sum())
    record = next(layer for layer in result.report.layers if layer.name == name)
    assert measured > 0.005
    assert record.error == pytest.approx(measured, abs=FLOAT32_SUMS)


@pytest.mark.parametrize("passes", [[], [NODE("Identity", ["w"], ["z"])]])
def test_an_output_of_the_graph_stays_dense_in_any_case(passes: list[NodeProto]) -> None:
    outputs = ["y", passes[0].output[0] if passes else "w"]
    proto = square([NODE("MatMul", ["x", "w"], ["y"], name="node"), *passes], outputs)
    for selection in (None, PRUNE):
        layers, (skip,) = find(proto, selection)
        assert layers == ()
        assert "also read by the graph's outputs" in skip.reason
        assert "--tied" not in skip.reason


def test_reading_the_shape_of_a_weight_does_not_tie_it() -> None:
    nodes = [
        NODE("Shape", ["w"], ["s"]),
        NODE("MatMul", ["x", "w"], ["p"], name="node"),
        NODE("Expand", ["p", "s"], ["y"]),
    ]
    proto = model(nodes, [value("x", [12, 12])], ["y"], {"w": normal(1, 12, 12)})
    layers, skips = find(proto)
    assert [layer.name for layer in layers] == ["node"]
    assert skips == ()


@pytest.mark.slow
def test_trials_and_the_bound_take_tied_weights() -> None:
    result = onnx_lobs.prune(language_model(), words(), tied="prune", sparsity=0.5, bound=True)
    assert sum(layer.zeros for layer in result.report.layers) == (480 + 192 + 192) // 2
