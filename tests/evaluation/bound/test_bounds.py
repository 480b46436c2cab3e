"""The bound is never below the error that onnxruntime shows, and says so where there is none."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bound_networks import bounds_of, error_of, node, perturbed
from build_onnx import branch, initializer, model, normal, value
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from onnx_lobs.arrays import Array

ROUNDING = 2e-6  # of float32, relative to the output's own length and to the bound
SAME_SUM = 1e-4  # of two ways to sum in float32
VOID = 100**2  # a bound so many times the error says nothing about the operator in between
MASK = np.array([0, 0, np.inf, 0, 0], np.float32)
f32 = np.float32

FIRST = [node("MatMul", "x", "w1", "pre"), node("Add", "pre", "b1", "h")]
WEIGHTS = {"w1": normal(1, 6, 8), "b1": normal(2, 8), "w2": normal(3, 8, 5)}
LAST = [node("MatMul", "z", "w2", "y")]


def is_below(true: float, bound: float | None) -> bool:
    """Whether a relative squared error is at most the bound, but for the networks' rounding."""
    assert bound is not None
    return bool(np.sqrt(true) <= np.sqrt(bound) * (1 + ROUNDING) + ROUNDING)


def check(proto: onnx.ModelProto, shape: tuple[int, ...], noise: float = 0.4) -> float:
    """Check the only output's bound on two batches of unlike size; return it over the error."""
    pruned = perturbed(proto, noise)
    batches = [{"x": normal(i, 2 + i, *shape)} for i in range(2)]
    ((output, found),) = bounds_of(proto, pruned, batches)[0].items()
    assert found.missing == ()
    true = error_of(proto, pruned, batches, output)
    assert true > 0
    assert found.measured == pytest.approx(true, rel=SAME_SUM)
    assert is_below(true, found.bound)
    assert found.bound is not None
    return found.bound / true


ELEMENTWISE = (
    "Abs", "Atan", "Cos", "Dropout", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "LeakyRelu", "Mish", "Neg", "Relu", "Sigmoid", "Sin", "Softmax", "Softplus", "Softsign", "Tanh",
)  # fmt: skip
BETWEEN: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    **{op: ([node(op, "h", "z")], {}) for op in ELEMENTWISE},
    "steep": ([node("LeakyRelu", "h", "e", alpha=3.0), node("Elu", "e", "z", alpha=2.0)], {}),
    "residual": ([node("Relu", "h", "r"), node("Add", "r", "h", "z")], {}),
    "twice": ([node("Sum", "h", "h", "h", "z")], {}),
    "difference": ([node("Relu", "h", "r"), node("Sub", "r", "h", "z")], {}),
    "sum-that-repeats": ([node("ReduceMean", "h", "one", "m"), node("Add", "m", "h", "z")],
                         {"one": np.array([1])}),
    "clip": ([node("Clip", "h", "lo", "hi", "z")], {"lo": f32(-0.5), "hi": f32(1)}),
    "split-and-concat": (
        [helper.make_node("Split", ["h"], ["r", "a"], axis=1, num_outputs=2),
         node("Concat", "a", "r", "z", axis=1)], {}),
    "slice-and-pad": ([node("Slice", "h", "lo", "hi", "t"), node("Pad", "t", "p", "z")],
                      {"lo": np.array([0, 2]), "hi": np.array([9, 6]),
                       "p": np.array([0, 2, 0, 2])}),
    "scale": ([node("Relu", "h", "r"), node("Mul", "s", "r", "t"), node("Div", "t", "c", "z")],
              {"s": normal(4, 8), "c": normal(5, 8)}),
    "scale-that-repeats": ([node("ReduceMax", "h", "one", "n"), node("Mul", "n", "s", "z")],
                           {"s": normal(4, 8), "one": np.array([1])}),
    "computed-weight": (
        [node("Transpose", "w3", "t3", perm=[1, 0]), node("Mul", "t3", "two", "m3"),
         node("MatMul", "h", "m3", "z")], {"w3": normal(7, 8, 8), "two": f32(2)}),
    "stacked-weight": (
        [node("MatMul", "h", "w3", "v"), node("ReduceMean", "v", "zero", "z", keepdims=0)],
        {"w3": normal(7, 3, 8, 8), "zero": np.array([0])}),
    "vector-weight": (
        [node("MatMul", "h", "w3", "v"), node("Unsqueeze", "v", "one", "u"),
         node("Mul", "u", "s", "z")],
        {"w3": normal(7, 8), "one": np.array([1]), "s": normal(4, 8)}),
    "gemm": ([node("Gemm", "h", "w3", "c", "z", transB=1, alpha=0.5, beta=2.0)],
             {"w3": normal(7, 8, 8), "c": normal(5, 8)}),
    "gemm-bias": ([node("Gemm", "x", "c", "h", "z", beta=0.5)], {"c": normal(4, 6, 8)}),
    "by-shape": ([node("Shape", "h", "s"), node("Reshape", "h", "s", "z")], {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", BETWEEN)
def test_bound_holds_between_two_layers(kind: str) -> None:
    middle, extra = BETWEEN[kind]
    proto = model([*FIRST, *middle, *LAST], [value("x", [None, 6])], [value("y", [None, None])],
                  WEIGHTS | extra, opset=20 if kind == "Gelu" else 18, ir_version=9)  # fmt: skip
    assert check(proto, (6,)) < VOID


NORM = {"s": normal(4, 6), "c": normal(5, 6), "m": normal(6, 6), "v": normal(7, 6) ** 2 + f32(0.1)}
IMAGES: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    "strided-grouped": (
        [node("Relu", "h", "r"), node("Conv", "r", "w2", "z", group=2, strides=[2, 2])],
        {"w2": normal(3, 4, 3, 3, 3)}),
    "transposed": (
        [node("Relu", "h", "r"), node("ConvTranspose", "r", "w2", "z", group=2, strides=[2, 1])],
        {"w2": normal(3, 6, 2, 3, 2)}),
    "depthwise-normalised": (
        [node("Conv", "h", "w2", "d", group=6, dilations=[2, 2]),
         node("BatchNormalization", "d", "s", "c", "m", "v", "z")],
        NORM | {"w2": normal(3, 6, 1, 3, 3)}),
    "scaled": ([node("Mul", "h", "k", "z")], {"k": normal(4, 6, 1, 1)}),
    "max-pool": ([node("MaxPool", "h", "z", kernel_shape=[3, 3], strides=[2, 2])], {}),
    "average-pool": ([node("AveragePool", "h", "z", kernel_shape=[3, 2], strides=[2, 1])], {}),
    "average-pool-padded": (
        [node("AveragePool", "h", "z", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}),
    "global-max": ([node("GlobalMaxPool", "h", "z")], {}),
    "classifier": (
        [node("GlobalAveragePool", "h", "g"), node("Flatten", "g", "f"),
         node("MatMul", "f", "w2", "z")],
        {"w2": normal(3, 6, 4)}),
    "shuffle": (
        [node("Concat", "h", "h", "e", axis=1), node("DepthToSpace", "e", "z", blocksize=2)], {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
def test_bound_holds_for_images(kind: str) -> None:
    middle, extra = IMAGES[kind]
    weights = {"w1": normal(1, 6, 3, 3, 3), "b1": normal(2, 6)} | extra
    first = node("Conv", "x", "w1", "b1", "h", pads=[1, 1, 1, 1])
    proto = model([first, *middle], [value("x", [None, 3, 7, 8])], ["z"], weights, opset=18)
    assert check(proto, (3, 7, 8)) < VOID


STEPS = ("Conv", "Relu", "Sigmoid", "Add", "BatchNormalization", "MaxPool", "AveragePool", "Concat")


@pytest.mark.slow
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.integers(0, 9)),
                   min_size=1, max_size=7),
    kernel=st.integers(1, 3), stride=st.integers(1, 2), dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]), noise=st.sampled_from([0.01, 0.2, 1.0]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_bound_holds_on_random_networks(
    steps: list[tuple[str, int, int]],
    kernel: int,
    stride: int,
    dilation: int,
    groups: int,
    noise: float,
    seed: int,
) -> None:
    names, nodes = ["a0"], [node("Conv", "x", "w0", "b0", "a0", strides=[stride] * 2, pads=[1] * 4)]
    weights = {"w0": normal(seed, 4, 2, 3, 3), "b0": normal(seed + 1, 4)}
    weights |= {name: normal(i, 4) for i, name in enumerate("scm")} | {"v": normal(9, 4) ** 2 + 1}
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    for i, (op, one, two) in enumerate(steps, start=1):
        left, right, out = names[one % len(names)], names[two % len(names)], f"a{i}"
        if op == "Conv":
            weights[f"w{i}"] = normal(seed + i, 4, 4 // groups, kernel, kernel)
            low = dilation * (kernel - 1) // 2
            pads = [low, low, dilation * (kernel - 1) - low, dilation * (kernel - 1) - low]
            options = {"group": groups, "dilations": [dilation] * 2, "pads": pads}
            nodes.append(node(op, left, f"w{i}", out, **options))
        elif op == "Concat":
            weights[f"w{i}"] = normal(seed + i, 4, 8, 1, 1)
            nodes += [node(op, left, right, f"c{i}", axis=1), node("Conv", f"c{i}", f"w{i}", out)]
        elif op == "BatchNormalization":
            nodes.append(node(op, left, *"scmv", out))
        else:
            inputs = (left, right) if op == "Add" else (left,)
            nodes.append(node(op, *inputs, out, **padded if "Pool" in op else {}))
        names.append(out)
    outputs = [value(name, [None] * 4) for name in names]
    proto = model(nodes, [value("x", [None, 2, 5, 6])], outputs, weights)
    pruned, batches = perturbed(proto, noise, seed), [{"x": normal(seed, 3, 2, 5, 6)}]
    found, _ = bounds_of(proto, pruned, batches)
    assert set(found) == set(names)
    for name, record in found.items():
        if record.missing:  # an output of zeros has no relative error
            assert "no finite number" in record.missing[0]
            continue
        assert is_below(error_of(proto, pruned, batches, name), record.bound), name


def test_bound_of_one_layer_is_its_error() -> None:
    proto = model(FIRST[:1], [value("x", [None, 6])], ["pre"], WEIGHTS)
    assert check(proto, (6,)) == pytest.approx(1, rel=SAME_SUM)


def test_bound_of_a_chain_is_that_of_the_theorem() -> None:
    nodes = [node("Gemm", "x", "w1", "b1", "h"), node("Relu", "h", "z"), *LAST]
    proto = model(nodes, [value("x", [None, 6])], ["y"], WEIGHTS)
    pruned = perturbed(proto, 0.4)
    x = normal(0, 7, 6).astype(np.float64)
    w1, b1, w2 = (initializer(proto, n).astype(np.float64) for n in ("w1", "b1", "w2"))
    v1, c1, v2 = (initializer(pruned, n).astype(np.float64) for n in ("w1", "b1", "w2"))
    first = np.linalg.norm(x @ (v1 - w1) + c1 - b1)
    second = np.linalg.norm(np.maximum(x @ v1 + c1, 0) @ (v2 - w2))
    energy = np.linalg.norm(np.maximum(x @ w1 + b1, 0) @ w2)
    norm = np.linalg.norm(w2, 2)
    found = bounds_of(proto, pruned, [{"x": x.astype(np.float32)}], h="fc1", y="fc2")[0]["y"]
    assert found.bound == pytest.approx(((norm * first + second) / energy) ** 2, rel=SAME_SUM)
    alone = {"fc1": (norm * first / energy) ** 2, "fc2": (second / energy) ** 2}
    assert found.layers == pytest.approx(alone, rel=SAME_SUM)
    assert list(found.layers) == sorted(alone, key=lambda name: -alone[name])


def test_equal_models_have_nothing_to_bound() -> None:
    proto = model(FIRST, [value("x", [None, 6])], ["h"], WEIGHTS)
    assert bounds_of(proto, proto, [{"x": normal(0, 7, 6)}]) == ({}, {"": 0.0})


NO_RULE: dict[str, tuple[list[onnx.NodeProto], dict[str, Array], str]] = {
    "step": ([node("Round", "h", "z")], {}, "Round_z: Round has no rule"),
    "two": ([node("Mul", "h", "h", "z", name="gate")], {}, "gate: Mul of these inputs has no rule"),
    "attention": ([node("Transpose", "h", "t"), node("MatMul", "h", "t", "z")], {},
                  "MatMul of these"),
    "over": ([node("Div", "one", "h", "z")], {"one": f32(1)}, "Div of these inputs"),
    "by-zero": ([node("Div", "h", "zero", "i"), node("Clip", "i", "zero", "one", "z")],
                {"zero": f32(0), "one": f32(1)}, "Div of these inputs"),
    "reflect": ([node("Pad", "h", "p", "z", mode="reflect")], {"p": np.array([0, 1, 0, 1])}, "Pad"),
    "rounded": ([node("Cast", "h", "i", to=6), node("Cast", "i", "z", to=1)], {}, "Cast of these"),
    "limits": ([node("ReduceMax", "h", "m", keepdims=0), node("Clip", "h", "m", "z")], {}, "Clip"),
    "foreign": ([node("Gelu", "h", "z", domain="com.microsoft")], {},
                "Gelu_z: com.microsoft.Gelu has no rule"),
    "indices": (
        [node("Unsqueeze", "h", "one", "u"),
         helper.make_node("MaxPool", ["u"], ["p", "i"], kernel_shape=[1]),
         node("Cast", "i", "j", to=1), node("Squeeze", "j", "one", "z")], {"one": np.array([1])},
        "MaxPool of these"),
    "statistics": ([node("ReduceMean", "h", "m", axes=[0], keepdims=0),
                    node("BatchNormalization", "h", "one", "m", "zero", "one", "z")],
                   {"one": np.ones(8, f32), "zero": np.zeros(8, f32)}, "Normalization of these"),
    "shape-of-what-differs": (
        [node("Relu", "h", "r"), node("NonZero", "r", "p"), node("Shape", "p", "s"),
         node("Cast", "s", "n", to=1), node("ReduceMax", "n", "k", keepdims=0),
         node("Add", "h", "k", "z")], {}, "NonZero"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_RULE)
def test_an_output_without_bound_says_which_node_has_no_rule(kind: str) -> None:
    middle, extra, words = NO_RULE[kind]
    nodes = [*FIRST, *middle, node("Relu", "h", "other")]
    domains = ("com.microsoft",) if kind == "foreign" else ()
    outputs = [value("z", [None, None]), value("other", [None, 8])]
    proto = model(nodes, [value("x", [None, 6])], outputs, WEIGHTS | extra, domains=domains)
    found, _ = bounds_of(proto, perturbed(proto, 0.4), [{"x": normal(0, 7, 6)}])
    assert found["z"].bound is None
    assert found["z"].layers == {}
    assert words in found["z"].missing[0]
    assert found["other"].bound is not None  # what is off the path keeps its bound


@pytest.mark.parametrize("inside", [False, True])
def test_a_value_behind_a_subgraph_has_no_bound(inside: bool) -> None:
    weights = WEIGHTS | {"yes": np.array(True)}
    held = {"w3": normal(4, 8, 8)} if inside else {}
    step = node("MatMul", "h", "w3", "t") if inside else node("Relu", "h", "t")
    then, other = branch([step], "t", **held), branch([node("Neg", "h", "e")], "e")
    choose = node("If", "yes", "z", name="choice", then_branch=then, else_branch=other)
    outputs = [value("y", [None, 5]), value("h", [None, 8])]
    proto = model([*FIRST, choose, *LAST], [value("x", [None, 6])], outputs, weights)
    pruned = perturbed(proto, 0.4)
    if inside:
        pruned = onnx.ModelProto()
        pruned.CopyFrom(proto)
        graphs = {a.name: a.g for a in pruned.graph.node[2].attribute}
        tensor = graphs["then_branch"].initializer[0]
        tensor.CopyFrom(onnx.numpy_helper.from_array(held["w3"] / 2, "w3"))
    batches = [{"x": normal(0, 7, 6)}]
    found, predictions = bounds_of(proto, pruned, batches)
    assert found["y"].bound is None
    assert found["y"].measured == pytest.approx(error_of(proto, pruned, batches, "y"), rel=SAME_SUM)
    assert found["y"].missing == ("choice: If has no rule",)
    assert ("h" in found) is not inside
    assert ("" in predictions) is not inside


@pytest.mark.parametrize("large", [np.inf, 0.0])
def test_an_output_whose_energy_is_no_number_has_no_bound_of_zero(large: float) -> None:
    last = node("Sub", "z", "mask", "y") if large else node("Mul", "z", "mask", "y")
    nodes = [*FIRST, node("MatMul", "h", "w2", "z"), last]
    proto = model(
        nodes,
        [value("x", [None, 6])],
        ["y"],
        WEIGHTS | {"mask": MASK if large else 0 * normal(1, 5)},
    )
    found, _ = bounds_of(proto, perturbed(proto, 0.5), [{"x": normal(4, 5, 6)}])
    assert (found["y"].bound, found["y"].measured) == (None, None)
    assert "no finite number" in found["y"].missing[0]
