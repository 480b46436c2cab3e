"""The dense network leaves what its layers read, or give, at the observations that are chosen."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from build_onnx import Array, branch, model, normal, run, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs.calibration import observation_choice
from onnx_lobs.calibration.dense_pass import DensePass
from onnx_lobs.calibration.independent import tap_types
from onnx_lobs.calibration.observation_choice import ObservationChoice
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.shared_inputs import find_shared_inputs
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store

NODE = helper.make_node
CPU = "CPUExecutionProvider"
BATCHES = 3
FLOAT = 2e-6  # of the largest value: sums of up to 200 products in float32, in another order


def open_pass(
    proto: ModelProto,
    batches: Sequence[Mapping[str, Array]],
    *,
    positions: int | None = None,
    store: Store | None = None,
    **limits: Any,
) -> tuple[DensePass, list[ObservationChoice]]:
    dense = Model(proto, None)
    shared_inputs = find_shared_inputs(find_layers(dense, LayerFilter(depthwise=True))[0])
    options = CalibrationOptions(
        len(batches), CPU, positions=positions, least_observations=0, **limits
    )
    choices = [ObservationChoice(shared, options) for shared in shared_inputs]
    store = Store(sys.maxsize, Scratch()) if store is None else store
    made = DensePass(dense, choices, tap_types(dense, shared_inputs), options, store)
    for feeds in batches:
        made.take(feeds)
    return made, choices


def read(choice: ObservationChoice, x: Array, index: int) -> Array:
    """Return the observations that are chosen of an activation."""
    use = choice.shared.uses[0]
    pieces = choice.pieces(use, len(x), use.output_sizes(x.shape), index)
    return np.concatenate([use.observations(x[piece], chosen) for piece, chosen in pieces], axis=1)


CONVS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "dense": ("Conv", (6, 4, 3, 3), {"pads": [1, 1, 0, 1]}),
    "strided": ("Conv", (6, 4, 3, 2), {"strides": [2, 3], "dilations": [1, 2]}),
    "pointwise": ("Conv", (5, 4, 1, 1), {}),
    "grouped": ("Conv", (6, 2, 3, 3), {"group": 2}),
    "depthwise": ("Conv", (8, 1, 3, 3), {"group": 4, "auto_pad": "SAME_UPPER"}),
    "transposed": ("ConvTranspose", (4, 3, 3, 3), {"group": 2, "strides": [2, 2]}),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("positions", [None, 3])
@pytest.mark.parametrize("chunk", [1, 1 << 24])
@pytest.mark.parametrize("kind", CONVS)
def test_outputs_of_convolutions_are_their_observations_times_the_weight(
    kind: str, chunk: int, positions: int | None, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation_choice, "CHUNK_BYTES", chunk)
    op, shape, attributes = CONVS[kind]
    outputs = shape[0] if op == "Conv" else shape[1] * attributes["group"]
    weights = {"v": normal(1, 4, 4, 1, 1), "w": normal(2, *shape)}
    weights |= {"b": 5 + normal(3, outputs)} if bias else {}
    nodes = [
        NODE("Conv", ["x", "v"], ["h"], name="first"),
        NODE(op, ["h", "w", "b"][: 2 + bias], ["y"], name="node", **attributes),
    ]
    proto = model(nodes, [value("x", [None, 4, 9, 8])], ["y", "h"], weights)
    batches = [{"x": normal(10 + i, 5, 4, 9, 8)} for i in range(BATCHES)]
    made, (first, second) = open_pass(proto, batches, positions=positions)
    made.reach([second.shared])
    layer = second.shared.layers[0]
    for index, feeds in enumerate(batches):
        assert made.target(first.shared.uses[0], index) is None
        target = made.target(layer.uses[0], index)
        assert target is not None
        assert target.is_output
        observations = read(second, run(proto, **feeds)["h"].astype(np.float64), index)
        assert target.count == observations.shape[1] > 0
        if positions is None:
            each = (layer.layout.groups * layer.layout.rows) * target.count
            assert each == run(proto, **feeds)["y"].size
        expected = observations @ layer.matrix(weights["w"]).swapaxes(1, 2)
        room = FLOAT * (np.abs(expected).max() + 10 * bias)
        np.testing.assert_allclose(target.data, expected, rtol=0, atol=room)


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    made = Scratch()
    yield made
    made.close()


def products(rows: Sequence[int]) -> ModelProto:
    """Layers of so many rows behind a first one, all on one input of 6 columns."""
    nodes = [NODE("MatMul", ["x", "v"], ["h"], name="first")]
    weights = {"v": normal(1, 6, 6)}
    for i, size in enumerate(rows):
        nodes.append(NODE("MatMul", ["h", f"w{i}"], [f"y{i}"], name=f"layer{i}"))
        weights[f"w{i}"] = normal(2 + i, 6, size)
    outputs = [f"y{i}" for i in range(len(rows))]
    return model(nodes, [value("x", [None, 3, 6])], [*outputs, "h"], weights)


@pytest.mark.parametrize("rows", [(9,), (4, 5), (10,), (5, 5)])
def test_products_leave_outputs_unless_these_are_more_or_of_several_layers(
    rows: tuple[int, ...],
) -> None:
    proto = products(rows)
    batches = [{"x": normal(10 + i, 4, 3, 6)} for i in range(BATCHES)]
    made, (_, second) = open_pass(proto, batches)
    made.reach([second.shared])
    for index, feeds in enumerate(batches):
        target = made.target(second.shared.uses[0], index)
        assert target is not None
        assert target.is_output == (rows == (9,))
        expected = run(proto, **feeds)["y0" if target.is_output else "h"].reshape(1, 12, -1)
        np.testing.assert_allclose(target.data, expected, rtol=0, atol=FLOAT * abs(expected).max())


@pytest.mark.parametrize(
    ("nodes", "dtype"),
    [
        ([NODE("MatMul", ["w", "h"], ["y"])], np.float32),
        ([NODE("Gemm", ["h", "w"], ["y"], alpha=2.0)], np.float32),
        ([NODE("Conv", ["h", "w", "b"], ["y"]), NODE("Neg", ["c"], ["b"])][::-1], np.float32),
        ([NODE("MatMul", ["h", "w"], ["y"])], np.float16),
    ],
    ids=["transposed", "gemm", "bias is computed", "half"],
)
def test_where_the_output_is_not_the_product_in_full_inputs_are_taken(
    nodes: list[Any], dtype: Any
) -> None:
    weights = {"v": normal(1, 6, 6, dtype=dtype), "w": normal(2, 6, 6, dtype=dtype)}
    is_conv = nodes[-1].op_type == "Conv"
    shape = [2, 6, 3] if is_conv else [6, 6]
    if is_conv:
        weights = {"v": normal(1, 6, 6, 1), "w": normal(2, 6, 6, 1)}
    first = NODE("Conv" if is_conv else "MatMul", ["x", "v"], ["h"], name="first")
    kind = TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT
    inputs = [value("x", shape, kind)] + [value("c", [6])] * is_conv
    proto = model(
        [first, *nodes],
        inputs,
        [value("y", [None, None, None] if is_conv else [None, None], kind)],
        weights,
    )
    feeds = {"x": normal(10, *shape, dtype=dtype)}
    feeds |= {"c": normal(11, 6)} if is_conv else {}
    made, choices = open_pass(proto, [feeds] * BATCHES)
    (last,) = [r for r in choices if r.shared.uses[0].input == "h"]
    made.reach([last.shared])
    target = made.target(last.shared.uses[0], 1)
    assert target is not None
    assert not target.is_output


def chain(n: int) -> ModelProto:
    """Layers in a row, with a residual sum from the input of the second around the others."""
    nodes = [NODE("MatMul", ["x", "w0"], ["h0"], name="layer0")]
    for i in range(1, n):
        nodes += [
            NODE("Relu", [f"h{i - 1}"], [f"r{i}"]),
            NODE("MatMul", [f"r{i}", f"w{i}"], [f"p{i}"], name=f"layer{i}"),
            NODE("Add", [f"p{i}", "h0"], [f"h{i}"]),
        ]
    weights = {f"w{i}": normal(i, 8, 8 if i % 2 else 16 if i == n - 1 else 8) for i in range(n)}
    return model(
        nodes[:-1] if n % 2 else nodes, [value("x", [None, 8])], [nodes[-2].output[0]], weights
    )


def targets_of(made: DensePass, choices: Sequence[ObservationChoice]) -> list[Array]:
    found = []
    for of in choices[1:]:
        made.reach([of.shared])
        for index in range(BATCHES):
            target = made.target(of.shared.uses[0], index)
            assert target is not None
            found.append(target.data.copy())
        made.forget([of.shared])
    return found


TARGET = 4 * 7 * 8  # bytes of a layer's target on a batch


@pytest.mark.parametrize(
    ("limits", "stages"),
    [
        ({}, 1),
        ({"most_targets": 4 * BATCHES * TARGET}, 1),
        ({"most_targets": 4 * BATCHES * TARGET - 1}, 2),
        ({"most_targets": 2 * BATCHES * TARGET}, 2),
        ({"most_targets": 1}, 4),
        ({"most_weights": 2 * 4 * 64 + 100}, 3),
        ({"most_weights": 1}, 4),
        ({"most_weights": 3 * 4 * 64 + 100, "most_targets": 1}, 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("filed", [False, True])
def test_more_stages_leave_the_same_targets(
    limits: dict[str, int],
    stages: int,
    filed: bool,
    scratch: Scratch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proto = chain(5)
    batches = [{"x": normal(20 + i, 7, 8)} for i in range(BATCHES)]
    whole = targets_of(*open_pass(proto, batches))
    done: list[list[int]] = []
    run_part = DensePass._run

    def counted(self: DensePass, part: Any) -> list[int]:
        done.append(run_part(self, part))
        return done[-1]

    monkeypatch.setattr(DensePass, "_run", counted)
    monkeypatch.setattr("onnx_lobs.memory.store.SMALL", 0)
    store = Store(0 if filed else 1 << 20, scratch)
    made, choices = open_pass(proto, batches, store=store, **limits)
    parts = targets_of(made, choices)
    assert done.count([]) == stages
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=FLOAT * np.abs(other).max())
    assert (store.in_memory, store.in_files) == (0, 0)


def test_a_stage_runs_when_it_is_needed_and_what_is_past_is_not_stored(scratch: Scratch) -> None:
    proto = chain(5)
    batches = [{"x": normal(20 + i, 7, 8)} for i in range(BATCHES)]
    store = Store(1 << 20, scratch)
    made, choices = open_pass(proto, batches, store=store, most_targets=2 * BATCHES * TARGET)
    assert store.in_memory == BATCHES * TARGET  # the inputs
    made.forget([choices[1].shared])
    made.reach([choices[2].shared])
    boundary = 2 * BATCHES * TARGET  # the first layer's output, and the third's
    assert store.in_memory == boundary + BATCHES * TARGET
    made.close()
    assert store.in_memory == 0


@pytest.mark.parametrize("most", [1, BATCHES * TARGET, 2 * BATCHES * TARGET])
def test_what_one_node_needs_is_not_cut(most: int) -> None:
    """Two layers inside an If, behind a small one: together they are too many, and stay so."""
    two = [NODE("MatMul", ["h", "w"], ["t0"], name="one"), NODE("MatMul", ["t0", "u"], ["t"])]
    then = branch(two, "t", w=normal(1, 8, 8), u=normal(2, 8, 8))
    other = branch([NODE("Identity", ["h"], ["e"])], "e")
    nodes = [
        NODE("MatMul", ["x", "v"], ["h"], name="first"),
        NODE("MatMul", ["h", "small"], ["s"], name="second"),
        NODE("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [value("x", [None, 8]), value("c", [], TensorProto.BOOL)]
    weights = {"v": normal(3, 8, 8), "small": normal(4, 8, 1)}
    proto = model(nodes, inputs, [value("y", [None, None]), "s"], weights)
    batches = [{"x": normal(20 + i, 7, 8), "c": np.array(True)} for i in range(BATCHES)]
    made, choices = open_pass(proto, batches, most_targets=most)
    assert len(choices) == 4
    for of in choices[1:]:
        made.reach([of.shared])
        target = made.target(of.shared.uses[0], 0)
        assert target is not None
        assert target.count == 7


@pytest.mark.parametrize("taken", [True, False])
def test_layers_inside_a_branch_leave_what_they_read(taken: bool) -> None:
    then = branch([NODE("MatMul", ["h", "w"], ["t"], name="then")], "t", w=normal(1, 6, 6))
    other = branch([NODE("MatMul", ["h", "u"], ["e"], name="else")], "e", u=normal(2, 6, 6))
    nodes = [
        NODE("MatMul", ["x", "v"], ["h"], name="first"),
        NODE("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [value("x", [None, 6]), value("c", [], TensorProto.BOOL)]
    proto = model(nodes, inputs, [value("y", [None, 6]), "h"], {"v": normal(3, 6, 6)})
    batches = [{"x": normal(20 + i, 7, 6), "c": np.array(taken)} for i in range(BATCHES)]
    made, choices = open_pass(proto, batches)
    made.reach([of.shared for of in choices])
    for of in choices[1:]:
        layer = of.shared.layers[0]
        target = made.target(layer.uses[0], 2)
        assert target is not None
        assert not target.is_output
        assert target.count == (7 if (layer.name == "then") == taken else 0)
        if target.count:
            np.testing.assert_array_equal(target.data[0], run(proto, **batches[2])["h"])


def test_tied_layers_and_those_that_nothing_changes_need_no_target() -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="one"),
        NODE("MatMul", ["x", "v"], ["b"], name="two"),
        NODE("Mul", ["a", "b"], ["c"]),
        NODE("MatMul", ["c", "t"], ["d"], name="tied"),
        NODE("MatMul", ["d", "t"], ["y"]),
    ]
    weights = {"w": normal(1, 6, 6), "v": normal(2, 6, 6), "t": normal(3, 6, 6)}
    proto = model(nodes, [value("x", [None, 6])], ["y"], weights)
    made, choices = open_pass(proto, [{"x": normal(4, 7, 6)}])
    made.reach([of.shared for of in choices])
    uses = [use for of in choices for layer in of.shared.layers for use in layer.uses]
    assert len(uses) == 4
    assert all(made.target(use, 0) is None for use in uses)
