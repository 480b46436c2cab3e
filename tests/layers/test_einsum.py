"""An Einsum is a layer where it is a plain product, and is skipped with the reason where not."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import Array, model, normal, one_node, run, value
from onnx import ModelProto, helper

import onnx_lobs
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.stages import cut
from onnx_lobs.layers.einsum import read_equation
from onnx_lobs.layers.fan_in import inputs_per_output
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.layer import Layer, Skip

SUMS = 2e-5  # of the largest output: float32 sums of up to 100 terms


def einsum(equation: str, weight: Array, rank: int, left: bool = False) -> ModelProto:
    names = ["w", "x"] if left else ["x", "w"]
    return one_node("Einsum", {"w": weight}, names, rank=rank, equation=equation)


def only_layer(proto: ModelProto) -> Layer:
    (layer,), skips = find_layers(Model(proto, None))
    assert skips == ()
    return layer


def skips(proto: ModelProto) -> tuple[Skip, ...]:
    layers, skipped = find_layers(Model(proto, None))
    assert layers == ()
    return skipped


# equation, weight, operand, (groups, rows, columns), and the output's axes as groups, samples, rows
PRODUCTS = {
    "dense": ("bsd,de->bse", (6, 7), (3, 4, 6), (1, 7, 6), (0, 1, 2)),
    "turned": ("bsd,ed->bse", (7, 6), (3, 4, 6), (1, 7, 6), (0, 1, 2)),
    "heads": ("bsd,dhe->bshe", (6, 2, 5), (3, 4, 6), (1, 10, 6), (0, 1, 2, 3)),
    "heads out": ("bshe,hed->bsd", (2, 5, 7), (3, 4, 2, 5), (1, 7, 10), (0, 1, 2)),
    "a group a head": ("bhsd,hde->bhse", (2, 6, 5), (3, 2, 4, 6), (2, 5, 6), (1, 0, 2, 3)),
    "a group a head, last": ("bshd,hde->bseh", (2, 6, 5), (3, 4, 2, 6), (2, 5, 6), (3, 0, 1, 2)),
    "two axes of groups": (
        "ghnd,hgde->nghe", (3, 2, 6, 5), (2, 3, 4, 6), (6, 5, 6), (1, 2, 0, 3),
    ),
    "samples on any axes": ("...d,de->...e", (6, 7), (2, 3, 4, 6), (1, 7, 6), (0, 1, 2, 3)),
    "samples in the middle": ("h...d,hde->h...e", (2, 6, 7), (2, 3, 4, 6), (2, 7, 6), (0, 1, 2, 3)),
    "samples on no axes": ("h...d,hde->h...e", (2, 6, 7), (2, 6), (2, 7, 6), (0, 1)),
    "no arrow": ("ij,jk", (6, 7), (4, 6), (1, 7, 6), (0, 1)),
    "no arrow, letters out of order": ("zj,ja", (6, 7), (4, 6), (1, 7, 6), (1, 0)),
    "no arrow, open": ("...j,jk", (6, 7), (3, 4, 6), (1, 7, 6), (0, 1, 2)),
    "capitals": ("bSd,dE->bSE", (6, 7), (3, 4, 6), (1, 7, 6), (0, 1, 2)),
    "summed before": ("btd,de->be", (6, 7), (3, 4, 6), (1, 7, 6), (0, 1)),
    "one row": ("bsd,d->bs", (6,), (3, 4, 6), (1, 1, 6), (0, 1)),
    "all summed": ("bsd,sd->b", (4, 6), (3, 4, 6), (1, 1, 24), (0,)),
    "a vector": ("d,de->e", (6, 7), (6,), (1, 7, 6), (0,)),
    "a repeated column": ("bdc,dce->be", (6, 3, 5), (4, 6, 1), (1, 5, 18), (0, 1)),
    "a weight of size 1": ("bhd,hde->bhe", (1, 6, 5), (4, 3, 6), (1, 5, 6), (0, 1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("kind", PRODUCTS)
def test_observations_times_matrices_are_what_onnxruntime_gives(kind: str, left: bool) -> None:
    equation, weight, shape, expected, order = PRODUCTS[kind]
    if left:
        terms, arrow, output = equation.partition("->")
        equation = ",".join(terms.split(",")[::-1]) + arrow + output
    w, x = normal(1, *weight), normal(2, *shape)
    proto = einsum(equation, w, len(shape), left)
    layer = only_layer(proto)
    (use,), layout = layer.uses, layer.layout
    assert (layout.groups, layout.rows, layout.columns) == expected
    observations = use.observations(x)
    assert observations.shape == (layout.groups, use.n_observations(shape), layout.columns)
    found = observations @ layer.matrix(w).transpose(0, 2, 1)
    wanted = run(proto, x=x)["y"].transpose(order)
    assert np.abs(found.reshape(wanted.shape) - wanted).max() <= SUMS * np.abs(wanted).max()
    assert np.array_equal(layout.from_matrix(layout.to_matrix(w)), w)


REFUSED = {
    "diagonal of the operand": ("bbd,de->be", (6, 7), 3, "takes a diagonal of its operand"),
    "diagonal of the weight": ("bd,dd->b", (6, 6), 2, "takes a diagonal of its weight"),
    "sum over the weight alone": ("bd,dek->be", (6, 7, 3), 2, "sums over 'k', an axis of the wei"),
    "scaling": ("bsd,d->bsd", (6,), 3, "sums over no axis of its weight"),
    "outer product": ("b,e->be", (6,), 1, "sums over no axis of its weight"),
    "open weight": ("bd,d...->b...", (6, 7), 2, "whose weight has axes of any number"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_plain_product_is_skipped_with_its_reason(kind: str) -> None:
    equation, weight, rank, reason = REFUSED[kind]
    (skip,) = skips(einsum(equation, normal(1, *weight), rank))
    assert reason in skip.reason


def three(names: list[str], equation: str) -> ModelProto:
    node = helper.make_node("Einsum", names, ["y"], name="node", equation=equation)
    inputs = [value(name, [5, 5]) for name in dict.fromkeys(names) if name != "w"]
    weights = {"w": normal(1, 5, 5)} if "w" in names else {}
    return model([node], inputs, [value("y", [None, None])], weights)


def test_products_of_more_or_fewer_tensors_are_told_apart() -> None:
    (skip,) = skips(three(["x", "z", "w"], "ab,bc,cd->ad"))
    assert "a product of 3 tensors" in skip.reason
    (skip,) = skips(three(["x", "z"], "ab,bc->ac"))
    assert skip.reason == "both operands are dynamic: it has no weights"
    (skip,) = skips(three(["x", "z", "v"], "ab,bc,cd->ad"))
    assert skip.reason == "both operands are dynamic: it has no weights"
    assert skips(three(["x"], "ab->ba")) == ()


@pytest.mark.parametrize("equation", ["a.b,bc->ac", "a1,1c->ac", "....a,ab->b", "ab,b...c...->ac"])
def test_an_equation_that_onnx_does_not_know_is_not_read(equation: str) -> None:
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation=equation)
    assert read_equation(node) is None


def test_layers_that_read_one_input_share_its_gram_whatever_their_letters() -> None:
    nodes = [
        helper.make_node("Einsum", ["x", "q"], ["a"], name="q", equation="bsd,dhk->bshk"),
        helper.make_node("Einsum", ["x", "k"], ["b"], name="k", equation="BTM,MNH->BTNH"),
        helper.make_node("MatMul", ["x", "v"], ["c"], name="v"),
        helper.make_node("Einsum", ["x", "e"], ["d"], name="e", equation="bsd,sde->bse"),
    ]
    weights = {name: normal(1, 6, 2, 3) for name in "qk"}
    weights |= {"v": normal(2, 6, 5), "e": normal(3, 4, 6, 5)}
    proto = model(nodes, [value("x", [None, 4, 6])], ["a", "b", "c", "d"], weights)
    layers, _ = find_layers(Model(proto, None))
    q, k, v, e = (layer.uses[0].tap for layer in layers)
    assert q == k == v
    assert e != q


@pytest.mark.parametrize(
    ("equation", "weight", "most"),
    [
        ("bsd,dhe->bshe", (6, 2, 5), 6), ("bshe,hed->bsd", (2, 5, 7), 10),
        ("bhsd,hde->bhse", (2, 6, 5), 6), ("btd,de->be", (6, 7), np.inf),
    ],
)  # fmt: skip
def test_the_inputs_of_an_output_are_counted(
    equation: str, weight: tuple[int, ...], most: float
) -> None:
    rank = len(equation.partition(",")[0])
    indexed = Model(einsum(equation, normal(1, *weight), rank), None)
    (stage,) = cut(indexed, {1: {"y"}})
    assert inputs_per_output(indexed, stage) == most


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
def test_an_einsum_is_pruned_as_the_matmul_that_it_is(sequential: bool) -> None:
    weights = {"w": normal(1, 12, 8), "b": normal(2, 8), "v": normal(3, 8, 5)}
    stored = []
    for op in ("MatMul", "Einsum"):
        attributes = {"equation": "nd,de->ne"} if op == "Einsum" else {}
        nodes = [
            helper.make_node(op, ["x", "w"], ["h"], name="first", **attributes),
            helper.make_node("Add", ["h", "b"], ["i"]),
            helper.make_node("Relu", ["i"], ["j"]),
            helper.make_node(op, ["j", "v"], ["y"], name="second", **attributes),
        ]
        proto = model(nodes, [value("x", [None, 12])], ["y"], weights)
        data = {"x": normal(4, 100, 12)}
        result = onnx_lobs.prune(proto, data, sparsity=0.5, min_weights=0, sequential=sequential)
        assert [layer.op for layer in result.report.layers] == [op, op]
        stored.append(Model(result.model, None))
    for name in weights:
        one, other = (m.value(m.main.initializers[name]) for m in stored)
        assert np.array_equal(one == 0, other == 0)
        assert np.abs(one - other).max() <= SUMS


def test_blocks_of_inputs_and_outputs_are_whole_in_an_einsum() -> None:
    proto = einsum("bsd,dhe->bshe", normal(1, 8, 2, 4), 3)
    result = onnx_lobs.prune(proto, {"x": normal(2, 40, 3, 8)}, sparsity=0.5, pattern="2:4")
    indexed = Model(result.model, None)
    kept = indexed.value(indexed.main.initializers["w"]) != 0
    assert (kept.reshape(2, 4, 8).sum(axis=1) == 2).all()


def test_grams_that_the_graph_cannot_compute_are_made_by_numpy_and_it_is_said() -> None:
    proto = einsum("bhsd,hde->bhse", normal(1, 2, 6, 12), 4)
    data = {"x": normal(2, 40, 2, 3, 6)}
    found = [
        onnx_lobs.prune(proto, data, sparsity=0.5, gram=gram, sequential=False)
        for gram in ("graph", "numpy")
    ]
    assert any("another order than a MatMul's" in note for note in found[0].report.warnings)
    assert found[0].report.layers[0].error == found[1].report.layers[0].error
