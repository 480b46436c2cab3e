"""Grams are those of the tapped values: of the dense network, or of the pruned one as it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from build_onnx import Array, branch, model, normal, run, value
from onnx import ModelProto, TensorProto, helper

import onnx_lobs.calibration.independent as independent_mode
from onnx_lobs.calibration import collect, observation_choice
from onnx_lobs.calibration.collect import Collector
from onnx_lobs.calibration.held_out import is_held_out
from onnx_lobs.calibration.independent import calibrate_independent
from onnx_lobs.calibration.observation_choice import ObservationChoice
from onnx_lobs.calibration.options import CalibrationOptions
from onnx_lobs.calibration.sequential import calibrate_in_stages, calibrate_sequential
from onnx_lobs.calibration.shared_inputs import SharedInput, find_shared_inputs
from onnx_lobs.errors import DataError, ModelError
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.linalg.convolution.costs import WholeSums
from onnx_lobs.linalg.convolution.offset_gram import ConvSums
from onnx_lobs.linalg.convolution.pixel_gram import PixelSums
from onnx_lobs.linalg.convolution.pixel_targets import PixelTargets
from onnx_lobs.linalg.moments import Calibration, Moments

NODE = helper.make_node
CPU = "CPUExecutionProvider"
SUMS = 1e-5  # of the largest entry: float32 activations, in two ways to run the graph


def network() -> ModelProto:
    """Two layers on one tap, then a layer on their product, then a Conv on its reshape."""
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"], name="one"),
        NODE("MatMul", ["x", "w2"], ["b"], name="two"),
        NODE("Relu", ["a"], ["ra"]),
        NODE("Mul", ["ra", "b"], ["p"]),
        NODE("Gemm", ["p", "w3", "b3"], ["c"], name="three", transB=1, alpha=0.5),
        NODE("Reshape", ["c", "n"], ["s"]),
        NODE("Conv", ["s", "w4"], ["y"], name="four"),
    ]
    weights = {
        "w1": normal(1, 6, 5), "w2": normal(2, 6, 5), "w3": normal(3, 8, 5), "b3": normal(4, 8),
        "n": np.array([-1, 2, 4]), "w4": normal(5, 3, 2, 2),
    }  # fmt: skip
    outputs = ["y", "p", value("s", [None, 2, 4])]
    return model(nodes, [value("x", [None, 6])], outputs, weights)


def batches_of(n: int = 4) -> list[dict[str, Array]]:
    return [{"x": normal(10 + i, 7, 6)} for i in range(n)]


def options_of(n: int, **more: Any) -> CalibrationOptions:
    return CalibrationOptions(
        n_batches=n, held_every=min(n, 10) if n > 1 else 0, provider=CPU, **more
    )


def shared_inputs_of(index: Model) -> tuple[SharedInput, ...]:
    return find_shared_inputs(find_layers(index, LayerFilter(depthwise=True))[0])


def independent(
    proto: ModelProto, batches: list[dict[str, Array]], **limits: int
) -> dict[str, Calibration]:
    index = Model(proto, None)
    shared_inputs = shared_inputs_of(index)
    options = options_of(len(batches), **limits)
    found = calibrate_independent(index, shared_inputs, batches, options)
    return {shared.layers[0].name: one for shared, one in zip(shared_inputs, found, strict=True)}


def assert_close(found: Array, expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=SUMS, atol=SUMS * np.abs(expected).max())


def windows(s: Array) -> Array:
    """Observations of the last Conv: (samples * 3, channels * 2)."""
    parts = [s[:, :, i : i + 2].reshape(len(s), 1, 4) for i in range(3)]
    return np.concatenate(parts, axis=1).reshape(-1, 4)


def test_grams_are_those_of_the_tapped_values() -> None:
    proto, batches = network(), batches_of()
    found = independent(proto, batches)
    shown = [run(proto, **feeds) for feeds in batches]
    expected = {
        "one": np.concatenate([feeds["x"] for feeds in batches]),
        "three": 0.5 * np.concatenate([values["p"] for values in shown]),
        "four": windows(np.concatenate([values["s"] for values in shown])),
    }
    assert list(found) == list(expected)
    for name, x in expected.items():
        gram = found[name].total(0).inputs
        wide = x.astype(np.float64)
        assert_close(gram.matrix[0], wide.T @ wide)
        assert_close(gram.total[0], wide.sum(axis=0))
        assert gram.count == len(x)


def test_layers_on_one_tap_share_a_gram() -> None:
    shared_inputs = shared_inputs_of(Model(network(), None))
    assert [[layer.name for layer in shared.layers] for shared in shared_inputs] == [
        ["one", "two"],
        ["three"],
        ["four"],
    ]
    assert [shared.top for shared in shared_inputs] == [0, 4, 6]


def test_a_tenth_of_the_batches_is_held_out_and_the_rest_fits() -> None:
    batches = batches_of(10)
    both = independent(network(), batches)["one"]
    held = batches[-1]["x"].astype(np.float64)
    assert_close(both.held[0].inputs.matrix[0], held.T @ held)
    assert both.fit[0].inputs.count == 9 * 7


@pytest.mark.parametrize(("n", "held"), [(1, []), (2, [1]), (5, [4]), (10, [9]), (25, [9, 19])])
def test_held_out_batches(n: int, held: list[int]) -> None:
    assert [i for i in range(n) if is_held_out(i, min(n, 10) if n > 1 else 0)] == held


def sequential(
    proto: ModelProto, batches: Any, n: int, halve: bool = False, **options: Any
) -> dict[str, Calibration]:
    """Run the sequential mode; with `halve`, each layer's weights are halved as it is solved."""
    dense, copy = Model(proto, None), ModelProto()
    copy.CopyFrom(proto)
    pruned = Model(copy, None)
    result = {}
    for shared, found in calibrate_sequential(
        dense, pruned, shared_inputs_of(dense), batches, options_of(n, **options)
    ):
        result[shared.layers[0].name] = found
        for layer in shared.layers if halve else ():
            tensor = pruned.scopes[layer.scope].initializers[layer.weight]
            write_tensor(tensor, 0.5 * pruned.value(tensor))
    return result


@pytest.mark.parametrize("most", [0, 600, 1 << 30])
def test_large_grams_are_put_together_one_by_one_to_the_same_moments(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    sizes = {shared.gram_bytes for shared in shared_inputs_of(Model(network(), None))}
    assert min(sizes) <= 600 < max(sizes)
    expected = independent(network(), batches_of())
    monkeypatch.setattr(independent_mode, "AT_ONCE_BYTES", most)
    found = independent(network(), batches_of())
    assert list(found) == list(expected)
    for name, one in found.items():
        np.testing.assert_array_equal(
            one.total(0).inputs.matrix, expected[name].total(0).inputs.matrix
        )


def test_sequential_with_nothing_pruned_equals_independent() -> None:
    proto, batches = network(), batches_of()
    apart, along = independent(proto, batches), sequential(proto, batches, len(batches))
    assert list(apart) == list(along)
    for name, expected in apart.items():
        for found, wanted in zip(along[name].fit, expected.fit, strict=True):
            assert_close(found.inputs.matrix, wanted.inputs.matrix)
        assert along[name].held[0].inputs.count == expected.held[0].inputs.count


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_batches_shared_out_among_collectors_give_the_same_sums(
    monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    proto, batches = network(), batches_of(7)
    made: list[Collector] = []

    def counted(*args: Any, **options: Any) -> Collector:
        made.append(Collector(*args, **options))
        return made[-1]

    monkeypatch.setattr(collect, "MOST_PARTS", parts)
    monkeypatch.setattr("onnx_lobs.calibration.sequential.Collector", counted)
    found, expected = sequential(proto, batches, 7), independent(proto, batches)
    assert len(made) == min(parts, 7) * len(found)
    for name, theirs in expected.items():
        mine = found[name]
        pairs = zip((*mine.fit, *mine.held), (*theirs.fit, *theirs.held), strict=True)
        for one, other in pairs:
            assert one.inputs.count == other.inputs.count
            assert_close(one.inputs.matrix, other.inputs.matrix)
            assert_close(one.inputs.total, other.inputs.total)


def matrices(name: str) -> Array:
    """The dense (rows, columns) of a shared input."""
    w1, w2, w3, w4 = (normal(1, 6, 5), normal(2, 6, 5), normal(3, 8, 5), normal(5, 3, 2, 2))
    return {"one": np.concatenate([w1.T, w2.T]), "three": w3, "four": w4.reshape(3, 4)}[name]


def test_sequential_targets_are_dense_pre_activations_on_pruned_inputs() -> None:
    proto, batches = network(), batches_of()
    found = sequential(proto, batches, len(batches), halve=True)
    half = ModelProto()
    half.CopyFrom(proto)
    for tensor in half.graph.initializer:
        if tensor.name.startswith("w"):
            write_tensor(tensor, 0.5 * Model(half, None).value(tensor))
    dense = [run(proto, **feeds) for feeds in batches]
    pruned = [run(half, **feeds) for feeds in batches]
    taps = {"one": None, "three": "p", "four": "s"}
    for name, tap in taps.items():
        own, clean = (
            np.concatenate(
                [f["x"] if tap is None else v[tap] for f, v in zip(batches, side, strict=True)]
            )
            for side in (pruned, dense)
        )
        if name == "four":
            own, clean = windows(own), windows(clean)
        if name == "three":
            own, clean = 0.5 * own, 0.5 * clean
        y = clean.astype(np.float64) @ matrices(name).T
        moments = found[name].total(0)
        assert moments.targets is not None
        assert_close(moments.inputs.matrix[0], own.astype(np.float64).T @ own)
        assert_close(moments.targets.cross[0], y.T @ own)
        assert_close(moments.targets.total[0], y.sum(axis=0))
        assert_close(moments.targets.energy[0], (y**2).sum(axis=0))


def test_sequential_reads_its_data_once_and_one_batch_at_a_time() -> None:
    given = batches_of()
    passed: list[int] = []

    def once() -> Iterator[dict[str, Array]]:
        for i, feeds in enumerate(given):
            passed.append(i)
            yield feeds

    sequential(network(), once(), len(given))
    assert passed == [0, 1, 2, 3]


def tied() -> ModelProto:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="tied"),
        NODE("Relu", ["a"], ["b"]),
        NODE("MatMul", ["b", "w"], ["c"]),
        NODE("MatMul", ["c", "v"], ["y"], name="last"),
    ]
    weights = {"w": normal(1, 6, 6), "v": normal(2, 6, 3)}
    return model(nodes, [value("x", [None, 6])], ["y", "b", "c"], weights)


@pytest.mark.parametrize("along", [False, True])
def test_tied_layer_has_moments_of_every_use(along: bool) -> None:
    proto, batches = tied(), batches_of()
    found = (sequential(proto, batches, 4) if along else independent(proto, batches))["tied"]
    b = np.concatenate([run(proto, **feeds)["b"] for feeds in batches]).astype(np.float64)
    assert len(found.fit) == 2
    assert_close(found.total(1).inputs.matrix[0], b.T @ b)
    assert found.fit[0].targets is None


def test_what_follows_a_tied_layer_sees_its_new_weights() -> None:
    proto, batches = tied(), batches_of()
    found = sequential(proto, batches, 4, halve=True)["last"].total(0)
    half = ModelProto()
    half.CopyFrom(proto)
    write_tensor(half.graph.initializer[0], 0.5 * normal(1, 6, 6))
    c = np.concatenate([run(half, **feeds)["c"] for feeds in batches]).astype(np.float64)
    assert_close(found.inputs.matrix[0], c.T @ c)


def test_two_tied_weights_inside_one_if_keep_their_own_moments() -> None:
    then = branch(
        [
            NODE("MatMul", ["x", "w"], ["a"]),
            NODE("MatMul", ["a", "w"], ["b"]),
            NODE("MatMul", ["b", "v"], ["d"]),
            NODE("MatMul", ["d", "v"], ["t"]),
        ],
        "t",
    )
    other = branch([NODE("Neg", ["x"], ["e"])], "e")
    node = NODE("If", ["c"], ["y"], then_branch=then, else_branch=other)
    inputs = [value("x", [None, 6]), value("c", [], TensorProto.BOOL)]
    weights = {"w": normal(1, 6, 6), "v": normal(2, 6, 6)}
    proto = model([node], inputs, [value("y", [None, 6])], weights)
    batches = [{**feeds, "c": np.array(True)} for feeds in batches_of()]
    index = Model(proto, None)
    shared_inputs = shared_inputs_of(index)
    apart = calibrate_independent(index, shared_inputs, batches, options_of(4))
    found = list(calibrate_sequential(index, index, shared_inputs, batches, options_of(4)))
    assert [shared.layers[0].weight for shared, _ in found] == ["w", "v"]
    for (_, one), expected in zip(found, apart, strict=True):
        assert_close(one.fit[1].inputs.matrix, expected.fit[1].inputs.matrix)


def test_convolution_reads_a_bounded_number_of_positions() -> None:
    nodes = [NODE("Conv", ["x", "w"], ["y"], name="node")]
    proto = model(nodes, [value("x", [None, 2, 30])], ["y"], {"w": normal(1, 3, 2, 3)})
    batches = [{"x": normal(i, 5, 2, 30)} for i in range(4)]
    limits = {"positions": 7, "least_observations": 0}
    found, again = (independent(proto, batches, **limits)["node"] for _ in range(2))
    assert found.total(0).inputs.count == 40  # 10 of the 10.5 per batch
    assert independent(proto, batches)["node"].total(0).inputs.count == 4 * 5 * 28
    assert np.array_equal(found.fit[0].inputs.matrix, again.fit[0].inputs.matrix)


@pytest.mark.parametrize(
    ("groups", "least", "count"), [(1, 400, 400), (2, 400, 200), (8, 400, 50), (16, 400, 50)]
)
def test_convolutions_in_groups_read_their_part_of_the_least_observations(
    monkeypatch: pytest.MonkeyPatch, groups: int, least: int, count: int
) -> None:
    # other ways read all positions
    monkeypatch.setattr(observation_choice, "cheapest", lambda *_: None)
    weights = {"w": normal(1, 32, 32 // groups, 3)}
    nodes = [NODE("Conv", ["x", "w"], ["y"], name="node", group=groups)]
    proto = model(nodes, [value("x", [None, 32, 66])], ["y"], weights)
    batches = [{"x": normal(i, 4, 32, 66)} for i in range(2)]
    limits = {"positions": 1, "least_observations": least}
    found = independent(proto, batches, **limits)["node"].total(0).inputs.count
    if groups < 8:
        assert found == count
    else:  # on a grid, which takes a whole part: 8 samples of 64 outputs, every tenth
        assert count <= found <= 2 * count


def test_a_last_batch_of_few_samples_is_summed_as_those_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def cheapest(shape: tuple[int, ...], *_: object) -> None:
        asked.append(shape[0])

    monkeypatch.setattr(observation_choice, "cheapest", cheapest)
    nodes = [NODE("Conv", ["x", "w"], ["y"], name="node")]
    proto = model(nodes, [value("x", [None, 2, 9])], ["y"], {"w": normal(1, 3, 2, 3)})
    independent(proto, [{"x": normal(n, n, 2, 9)} for n in (4, 4, 1)])
    assert asked == [4]


def test_chunks_of_samples_add_up_to_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    proto, batches = network(), batches_of()
    whole = independent(proto, batches)["four"].total(0).inputs
    monkeypatch.setattr(observation_choice, "CHUNK_BYTES", 1)
    parts = independent(proto, batches)["four"].total(0).inputs
    assert_close(parts.matrix, whole.matrix)
    assert parts.count == whole.count


@pytest.mark.parametrize("along", [False, True])
@pytest.mark.parametrize("where", [0, 3], ids=["fit", "held out"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30], ids=["nan", "inf", "too large"])
def test_taps_that_are_not_finite_are_a_data_error(bad: float, where: int, along: bool) -> None:
    batches = batches_of()
    batches[where]["x"][0, 0] = bad
    calibrated = sequential if along else independent
    more = (4,) if along else ()
    with pytest.raises(DataError, match=r"the input of 'one' becomes NaN or infinite.*exclude"):
        calibrated(network(), batches, *more)


def test_pointwise_convolutions_read_every_pixel_as_often_as_any_other() -> None:
    nodes = [NODE("Conv", ["x", "w"], ["y"], name="node")]
    side, n = 12, 600
    proto = model(nodes, [value("x", [None, 1, side, side])], ["y"], {"w": normal(1, 3, 1, 1, 1)})
    image = 2.0 ** np.arange(0, 0.05 * side**2, 0.05)[: side**2].reshape(1, 1, side, side)
    batches = [{"x": image.astype(np.float32)}] * n
    found = (
        independent(proto, batches, positions=n * 40, least_observations=0)["node"].total(0).inputs
    )
    assert found.count == n * 40
    # the standard error of the mean over n starts; of 20 seeds none was off by 2.5 of it
    mean, spread = image.mean(), image.std() / np.sqrt(n)
    assert abs(found.mean[0, 0] - mean) < 3 * spread


def counts(found: Calibration) -> list[int]:
    parts: list[Moments] = [*found.fit, *found.held]
    return [moments.inputs.count for moments in parts]


@pytest.mark.parametrize("along", [False, True])
def test_branch_that_is_never_taken_has_no_moments(along: bool) -> None:
    then = branch([NODE("MatMul", ["x", "w"], ["t"], name="then")], "t", w=normal(1, 6, 6))
    other = branch([NODE("MatMul", ["x", "v"], ["e"], name="else")], "e", v=normal(2, 6, 6))
    node = NODE("If", ["c"], ["y"], then_branch=then, else_branch=other)
    inputs = [value("x", [None, 6]), value("c", [], TensorProto.BOOL)]
    proto = model([node], inputs, [value("y", [None, 6])])
    batches = [{**feeds, "c": np.array(True)} for feeds in batches_of()]
    found = sequential(proto, batches, 4) if along else independent(proto, batches)
    assert counts(found["else"]) == [0, 0]
    assert counts(found["then"]) == [21, 7]


@pytest.mark.parametrize("along", [False, True])
@pytest.mark.parametrize(
    ("way", "channels"), [(ConvSums, 2), (ConvSums, 1), (PixelSums, 1)], ids=str
)
def test_sums_of_whole_images_give_the_moments_that_unfolding_gives(
    along: bool, way: WholeSums, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [NODE("Conv", ["x", "w"], ["y"], name="node", pads=[1, 0, 1, 1], group=4 // channels)]
    weights = {"w": normal(1, 12, channels, 3, 3)}
    proto = model(nodes, [value("x", [None, 4, 6, 5])], ["y"], weights)
    batches = [{"x": 3 + normal(i, 5, 4, 6, 5)} for i in range(4)]
    found = []
    for each in (way, None):
        monkeypatch.setattr(observation_choice, "cheapest", lambda *_, each=each: each)
        run_one = sequential(proto, batches, 4) if along else independent(proto, batches)
        found.append(run_one["node"].total(0))
    whole, unfolded = found
    assert whole.inputs.count == unfolded.inputs.count
    assert_close(whole.inputs.matrix, unfolded.inputs.matrix)
    assert_close(whole.inputs.total, unfolded.inputs.total)
    if along:
        assert whole.targets is not None
        assert unfolded.targets is not None
        for name in ("cross", "total", "energy"):
            assert_close(getattr(whole.targets, name), getattr(unfolded.targets, name))


@pytest.mark.parametrize("positions", [None, 5])
def test_targets_of_small_images_are_those_of_unfolded_ones(
    positions: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        NODE("Conv", ["x", "v"], ["h"], name="one"),
        NODE("Conv", ["h", "w"], ["y"], name="node", pads=[1, 0, 1, 1], group=4),
    ]
    weights = {"v": normal(1, 4, 4, 1, 1), "w": normal(2, 8, 1, 3, 3)}
    proto = model(nodes, [value("x", [None, 4, 6, 5])], ["y"], weights)
    batches = [{"x": 3 + normal(i, 5, 4, 6, 5)} for i in range(4)]
    made: list[PixelTargets] = []

    def counted(*args: Any) -> PixelTargets:
        made.append(PixelTargets(*args))
        return made[-1]

    monkeypatch.setattr(collect, "PixelTargets", counted)
    found = []
    for way in (PixelSums, None):
        monkeypatch.setattr(
            observation_choice, "cheapest", lambda *of, way=way: way if of[2] == of[0][1] else None
        )
        limits = {"positions": positions, "least_observations": 0}
        found.append(sequential(proto, batches, 4, halve=True, **limits)["node"].total(0))
    assert bool(made) == (positions is None)  # with fewer no target is known at all outputs
    whole, unfolded = found
    assert whole.inputs.count == unfolded.inputs.count
    assert whole.targets is not None
    assert unfolded.targets is not None
    assert_close(whole.inputs.matrix, unfolded.inputs.matrix)
    for name in ("cross", "total", "energy"):
        assert_close(getattr(whole.targets, name), getattr(unfolded.targets, name))


def test_networks_whose_activations_differ_in_size_are_a_model_error() -> None:
    """What NonZero finds depends on the weights before it."""
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="one"),
        NODE("Relu", ["a"], ["r"]),
        NODE("NonZero", ["r"], ["n"]),
        NODE("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        NODE("Transpose", ["f"], ["t"], perm=[1, 0]),
        NODE("MatMul", ["t", "v"], ["y"], name="two"),
    ]
    weights = {"w": normal(1, 6, 5), "v": normal(2, 2, 3)}
    dense = Model(model(nodes, [value("x", [None, 6])], ["y"], weights), None)
    pruned = dense.copied()
    found = calibrate_sequential(
        dense, pruned, shared_inputs_of(dense), batches_of(3), options_of(3)
    )
    next(found)
    write_tensor(pruned.scopes[0].initializers["w"], weights["w"] * (np.arange(5) > 2))
    with pytest.raises(ModelError, match=r"'two' has another size .* use --independent"):
        list(found)


def test_a_branch_that_only_the_pruned_network_takes_aims_at_its_own_outputs() -> None:
    then = branch([NODE("MatMul", ["h", "u"], ["t"], name="inner")], "t", u=normal(2, 6, 6))
    other = branch([NODE("Identity", ["h"], ["e"])], "e")
    nodes = [
        NODE("MatMul", ["x", "w"], ["h"], name="one"),
        NODE("ReduceSum", ["h"], ["s"], keepdims=0),
        NODE("Less", ["s", "zero"], ["c"]),
        NODE("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"w": np.eye(6, dtype=np.float32), "zero": np.float32(0).reshape(())}
    inputs, outputs = [value("x", [None, 6])], [value("y", [None, 6])]
    dense = Model(model(nodes, inputs, outputs, weights), None)
    pruned = dense.copied()
    batches = [{"x": np.abs(feeds["x"])} for feeds in batches_of(3)]
    found = calibrate_sequential(dense, pruned, shared_inputs_of(dense), batches, options_of(3))
    next(found)
    write_tensor(pruned.scopes[0].initializers["w"], -weights["w"])
    ((_, inner),) = found
    assert inner is not None
    x = -np.concatenate([feeds["x"] for feeds in batches]).astype(np.float64)
    moments = inner.total(0)
    assert moments.targets is not None
    assert moments.inputs.count == len(x)
    assert_close(moments.inputs.matrix[0], x.T @ x)
    assert_close(moments.targets.cross[0], normal(2, 6, 6).T @ x.T @ x)


@pytest.mark.parametrize("is_tight", [True, False])
def test_what_is_free_is_given_back_before_each_layer_only_if_memory_is_tight(
    is_tight: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[str] = []
    monkeypatch.setattr(
        "onnx_lobs.calibration.sequential.release_memory", lambda: released.append("")
    )
    dense = Model(network(), None)
    found = calibrate_sequential(
        dense,
        dense.copied(),
        shared_inputs_of(dense),
        batches_of(),
        options_of(4, is_tight=is_tight),
    )
    for count, _ in enumerate(found, 1):
        assert len(released) == count * is_tight


@pytest.mark.parametrize(("most", "passes"), [(1, 2), (sys.maxsize, 1)])
def test_tied_layers_take_more_passes_where_their_grams_exceed_their_share(
    monkeypatch: pytest.MonkeyPatch, most: int, passes: int
) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="first"),
        NODE("MatMul", ["a", "w"], ["b"]),
        NODE("MatMul", ["b", "v"], ["c"], name="second"),
        NODE("MatMul", ["c", "v"], ["y"]),
    ]
    weights = {"w": normal(1, 6, 6), "v": normal(2, 6, 6)}
    proto, batches = model(nodes, [value("x", [None, 6])], ["y"], weights), batches_of()
    dense = Model(proto, None)
    shared_inputs = shared_inputs_of(dense)
    made: list[int] = []

    def counted(*args: Any, **options: Any) -> list[Calibration]:
        made.append(len(args[1]))
        return calibrate_independent(*args, **options)

    monkeypatch.setattr("onnx_lobs.calibration.tied.calibrate_independent", counted)
    options = options_of(len(batches), most_grams=most)
    found = calibrate_in_stages(dense, shared_inputs, batches, options)
    expected = independent(proto, batches)
    for shared, calibration in found:
        assert calibration is not None
        wanted = expected[shared.layers[0].name]
        for one, other in zip(calibration.fit, wanted.fit, strict=True):
            assert np.array_equal(one.inputs.matrix, other.inputs.matrix)
    assert len(made) == passes
    made.clear()
    for _, calibration in calibrate_in_stages(
        dense, shared_inputs, batches, options, is_known=lambda shared: True
    ):
        assert calibration is None
    assert not made


@pytest.mark.parametrize("along", [False, True])
def test_sums_of_images_of_many_sizes_are_not_all_kept(
    monkeypatch: pytest.MonkeyPatch, along: bool
) -> None:
    nodes = [NODE("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])]
    proto = model(nodes, [value("x", [None, 16, None, None])], ["y"], {"w": normal(1, 8, 16, 3, 3)})
    batches = [{"x": normal(n, 2, 16, 6 + n, 9)} for n in range(24)]
    most: list[int] = []
    add = Collector.add

    def counted(self: Collector, *args: Any, **options: Any) -> None:
        add(self, *args, **options)
        most.append(len(self.images))

    monkeypatch.setattr(Collector, "add", counted)
    monkeypatch.setattr(ObservationChoice, "whole_sums", lambda *args: ConvSums)
    found = (sequential(proto, batches, 24) if along else independent(proto, batches))["conv"]
    assert 1 < max(most) <= 2 * collect.KEPT_SIZES
    monkeypatch.setattr(ObservationChoice, "whole_sums", lambda *args: None)
    expected = independent(proto, batches)["conv"]
    for one, other in zip((*found.fit, *found.held), (*expected.fit, *expected.held), strict=True):
        assert one.inputs.count == other.inputs.count
        assert_close(one.inputs.matrix, other.inputs.matrix)
