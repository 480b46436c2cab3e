"""Means and variances behind pruned layers become the dense network's, where that helps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import Array, branch, initializer, model, normal, run, value
from onnx import ModelProto, NodeProto, helper

import onnx_lobs
from onnx_lobs.calibration.held_out import is_held_out
from onnx_lobs.evaluation.loss import OutputLoss
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.layers.find import find_layers
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.write import add_biases
from onnx_lobs.memory.scratch import Scratch
from onnx_lobs.memory.store import Store
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.record import CorrectionRecord
from onnx_lobs.run.correction import correct as module
from onnx_lobs.run.correction.correct import correct
from onnx_lobs.run.correction.sites import find_sites
from onnx_lobs.run.networks import Networks
from onnx_lobs.verbs.prune import prune_file

NODE = helper.make_node
CPU = "CPUExecutionProvider"
STATISTICS = ("scale", "shift", "mean", "var")
ROUNDING = 1e-4  # float32 sums of a few thousand values, and the stored float32
EPSILON = 1e-3


def norm(source: str, out: str, **more: Any) -> NodeProto:
    return NODE(
        "BatchNormalization", [source, *STATISTICS], [out], name="norm", epsilon=EPSILON, **more
    )


def statistics(channels: int) -> dict[str, Array]:
    return {
        "scale": 1 + 0.2 * normal(11, channels), "shift": 0.3 * normal(12, channels),
        "mean": 0.5 * normal(13, channels), "var": 1 + 0.5 * abs(normal(14, channels)),
    }  # fmt: skip


def behind(kind: str, opset: int = 17) -> ModelProto:
    """A BatchNormalization whose input depends on the weight w; Relu and two sums end it."""
    x, w = [None, 6, 5, 5], normal(1, 8, 6, 3, 3)
    if kind == "conv":
        nodes = [NODE("Conv", ["x", "w"], ["c"], name="layer")]
    elif kind == "transposed":
        nodes = [NODE("ConvTranspose", ["x", "w"], ["c"], name="layer")]
        w = normal(1, 6, 8, 3, 3)
    elif kind == "matmul":
        nodes, x, w = [NODE("MatMul", ["x", "w"], ["c"], name="layer")], [None, 6], normal(1, 6, 8)
    else:  # the normalisation of a sum stands before the next layer's activation
        nodes = [
            NODE("Conv", ["x", "w"], ["b"], name="layer", pads=[1, 1, 1, 1]),
            NODE("Add", ["b", "x"], ["c"]),
        ]
        w = normal(1, 6, 6, 3, 3)
    channels = 6 if kind == "sum" else 8
    nodes += [norm("c", "n"), NODE("Relu", ["n"], ["y"])]
    return model(nodes, [value("x", x)], ["y"], {"w": w, **statistics(channels)}, opset=opset)


def batches_for(proto: ModelProto, count: int = 10) -> list[dict[str, Array]]:
    dims = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    return [{"x": normal(100 + i, 32, *dims) + np.float32(0.5)} for i in range(count)]


def copy_of(proto: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    return copy


def thinned(proto: ModelProto, names: Sequence[str]) -> ModelProto:
    """Every weight below the median zeroed, which shrinks variances and shifts means."""
    copy = copy_of(proto)
    for tensor in copy.graph.initializer:
        if tensor.name in names:
            w = onnx.numpy_helper.to_array(tensor)
            new = np.where(abs(w) < np.median(abs(w)), 0, 0.7 * w).astype(w.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
    return copy


def prepared(
    proto: ModelProto, names: Sequence[str] = ("w",)
) -> tuple[Networks, tuple[Layer, ...]]:
    """The three models of a run whose pruned weights have been written."""
    layers = find_layers(Model(to_executable(proto, None, CPU)[0], None))[0]
    copies = [to_executable(p, None, CPU)[0] for p in (proto, thinned(proto, names))]
    for copy in copies:
        add_biases(Model(copy, None), layers)
    dense, pruned = (Model(copy, None) for copy in copies)
    result = Model(thinned(proto, names), None)
    return Networks(dense, pruned, result, CPU, 1 << 30), layers


def corrected(
    proto: ModelProto, names: Sequence[str] = ("w",), count: int = 10
) -> tuple[ModelProto, CorrectionRecord, list[str]]:
    networks, layers = prepared(proto, names)
    changed = [layer for layer in layers if layer.weight in names]
    record, notes = correct(
        networks, changed, batches_for(proto, count), held_every=min(count, 10) if count > 1 else 0,
        store=lambda: Store(1 << 30, Scratch()),
    )  # fmt: skip
    return networks.result.proto, record, notes


def shown(proto: ModelProto, name: str, channel: int = 1) -> tuple[Array, Array]:
    """Mean and deviation per channel of a value on the batches that are not held out."""
    copy = copy_of(proto)
    copy.graph.output.append(value(name))
    feeds = [f for i, f in enumerate(batches_for(proto)) if not is_held_out(i, 10)]
    values = np.concatenate([run(copy, **f)[name] for f in feeds])
    flat = np.moveaxis(values, channel, 0).reshape(values.shape[channel], -1).astype(np.float64)
    return flat.mean(axis=1), flat.std(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["conv", "transposed", "matmul", "sum"])
@pytest.mark.parametrize("opset", [7, 9, 14, 15, 21])
def test_statistics_move_as_the_measured_moments_do(kind: str, opset: int) -> None:
    proto = behind(kind, opset)
    after, record, notes = corrected(proto)
    (dense_mean, dense_std), (mean, std) = shown(proto, "c"), shown(after, "c")
    ratio = std / dense_std
    variance = (initializer(proto, "var") + EPSILON) * ratio**2 - EPSILON
    moved = mean + (initializer(proto, "mean") - dense_mean) * ratio
    np.testing.assert_allclose(initializer(after, "var"), variance, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(initializer(after, "mean"), moved, rtol=ROUNDING, atol=ROUNDING)
    for name in ("scale", "shift"):
        np.testing.assert_array_equal(initializer(after, name), initializer(proto, name))
    assert record.norms == 1
    assert record.layers == (kind == "sum")
    assert record.before is not None
    assert record.after is not None
    assert record.after < record.before
    assert not notes


def chain(op: str) -> ModelProto:
    """A layer whose statistics nothing normalises, and a head."""
    x: list[Any] = [None, 6]
    weights = {"w": normal(1, 6, 8), "b": normal(2, 8), "v": normal(3, 8, 4)}
    if op == "Gemm":
        nodes = [NODE("Gemm", ["x", "w", "b"], ["c"], name="layer", alpha=0.5, beta=2.0)]
    elif op == "MatMul":
        nodes = [NODE("MatMul", ["x", "w"], ["p"], name="layer"), NODE("Add", ["b", "p"], ["c"])]
    else:
        nodes = [NODE("Conv", ["x", "w", "b"], ["c"], name="layer", group=2)]
        x, weights = [None, 6, 7], weights | {"w": normal(1, 8, 3, 3), "v": normal(3, 5, 4)}
    nodes += [NODE("Relu", ["c"], ["r"]), NODE("MatMul", ["r", "v"], ["y"], name="head")]
    return model(nodes, [value("x", x)], ["y"], weights)


@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul"])
def test_rows_and_bias_of_a_folded_layer_give_the_dense_mean_and_variance(op: str) -> None:
    proto = chain(op)
    after, record, _ = corrected(proto)
    assert (record.kind, record.norms, record.layers) == ("mean and variance", 0, 1)
    before, found = shown(proto, "c"), shown(after, "c")
    np.testing.assert_allclose(found[0], before[0], rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(found[1], before[1], rtol=ROUNDING)
    zeros = initializer(thinned(proto, ["w"]), "w") == 0
    np.testing.assert_array_equal(initializer(after, "w") == 0, zeros)


def test_a_tied_layer_keeps_its_rows() -> None:
    nodes = [
        NODE("Gemm", ["x", "w", "b1"], ["a"], name="one"), NODE("Relu", ["a"], ["c"]),
        NODE("Gemm", ["c", "w", "b2"], ["d"], name="two"), NODE("Relu", ["d"], ["y"]),
    ]  # fmt: skip
    weights = {"w": normal(1, 8, 8), "b1": normal(2, 8), "b2": normal(3, 8)}
    proto = model(nodes, [value("x", [None, 8])], ["y"], weights)
    after, record, _ = corrected(proto)
    assert record.layers == 2
    np.testing.assert_array_equal(initializer(after, "w"), initializer(thinned(proto, ["w"]), "w"))
    for name in ("a", "d"):
        np.testing.assert_allclose(shown(after, name)[0], shown(proto, name)[0], atol=ROUNDING)


def test_an_unpruned_network_stays_as_it_is() -> None:
    proto = behind("sum")
    for names in ((), ("nothing of that name",)):
        after, record, _ = corrected(proto, names)
        assert after.SerializeToString() == proto.SerializeToString()
        assert record == CorrectionRecord(0)
    networks, layers = prepared(proto, ())  # taken for pruned, but with the dense weights
    record, _ = correct(
        networks, layers, batches_for(proto), held_every=10, store=lambda: Store(0, Scratch())
    )
    assert networks.result.proto.SerializeToString() == proto.SerializeToString()
    assert record == CorrectionRecord(2, before=0.0)


def test_what_does_not_help_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = chain("Conv")
    networks, layers = prepared(proto)
    former = [m.proto.SerializeToString() for m in (networks.pruned, networks.result)]
    errors = iter(  # held out and on all batches: before, then worse on one of them
        [0.1, 0.1, 0.2, 0.05, 0.05, 0.2]
    )
    monkeypatch.setattr(module, "output_loss", lambda *args: OutputLoss(next(errors)))
    phases: list[tuple[str, int]] = []
    record, _ = correct(
        networks, layers[:1], batches_for(proto), held_every=10,
        store=lambda: Store(1 << 30, Scratch()), start=lambda *args: phases.append(args),
    )  # fmt: skip
    assert record == CorrectionRecord(1, before=0.1)
    assert [m.proto.SerializeToString() for m in (networks.pruned, networks.result)] == former
    assert phases == [("correcting mean and variance", 1), ("correcting mean", 1)]


def test_one_batch_alone_corrects_nothing() -> None:
    proto = behind("conv")
    after, record, _ = corrected(proto, count=1)
    assert record == CorrectionRecord(1)
    assert after.SerializeToString() == thinned(proto, ["w"]).SerializeToString()


def skipped(kind: str) -> ModelProto:
    """A BatchNormalization behind a layer that cannot be corrected."""
    nodes = [NODE("MatMul", ["x", "w"], ["c"], name="layer")]
    weights, opset = {"w": normal(1, 8, 8), **statistics(8)}, 17
    inputs = [value("x", [None, 8])]
    if kind == "training":
        nodes += [NODE("BatchNormalization", ["c", *STATISTICS], ["y", "m2", "v2"],
                       name="norm", training_mode=1)]  # fmt: skip
    elif kind == "old training":
        outputs = ["y", "m2", "v2", "m3", "v3"]
        nodes += [NODE("BatchNormalization", ["c", *STATISTICS], outputs, name="norm")]
        opset = 9
    elif kind == "positions":
        nodes, opset = [*nodes, norm("c", "y", spatial=0)], 7
    elif kind == "tied":
        nodes += [norm("c", "n"), NODE("Add", ["n", "mean"], ["y"])]
    elif kind == "dynamic":
        nodes += [norm("c", "y")]
        del weights["mean"]
        inputs += [value("mean", [8])]
    else:
        then = branch([norm("c", "t")], "t")
        other = branch([NODE("Identity", ["c"], ["e"])], "e")
        nodes += [NODE("If", ["flag"], ["y"], then_branch=then, else_branch=other)]
        weights["flag"] = np.array(True)
    return model(nodes, inputs, ["y"], weights, opset=opset)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("training", "training mode"),
        ("old training", "training mode"),
        ("positions", "spatial=0"),
        ("tied", "'mean' is used elsewhere too"),
        ("dynamic", "'mean' is not a constant"),
        ("inside", "inside a subgraph"),
    ],
)
def test_a_normalisation_that_cannot_be_corrected_is_named_with_the_reason(
    kind: str, reason: str
) -> None:
    proto = skipped(kind)
    executable = Model(proto, None)
    layers, _ = find_layers(executable)
    sites, notes = find_sites(executable, layers)
    assert sites == ()
    assert len(notes) == 1
    assert "'norm'" in notes[0]
    assert reason in notes[0]
    assert find_sites(executable, []) == ((), [])


def network() -> ModelProto:
    """Two convolutions, each with a normalisation, and a head; wide enough to be pruned hard."""
    other = [f"{name}2" for name in STATISTICS]
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], name="one", pads=[1, 1, 1, 1]),
        norm("a", "n"),
        NODE("Relu", ["n"], ["r"]),
        NODE("Conv", ["r", "w2"], ["b"], name="two"),
        NODE("BatchNormalization", ["b", *other], ["n2"]),
        NODE("Relu", ["n2"], ["r2"]),
        NODE("GlobalAveragePool", ["r2"], ["g"]),
        NODE("Flatten", ["g"], ["f"]),
        NODE("Gemm", ["f", "v", "b3"], ["y"], name="head"),
    ]
    weights = {"w": normal(1, 12, 6, 3, 3), "w2": 0.2 * normal(2, 16, 12, 3, 3)}
    weights |= {"v": normal(3, 16, 10), "b3": normal(4, 10), **statistics(12)}
    weights |= {f"{name}2": array for name, array in statistics(16).items()}
    return model(nodes, [value("x", [None, 6, 5, 5])], ["y"], weights)


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
def test_pruning_with_correction_resumes_to_the_same_bytes(
    tmp_path: Path, sequential: bool
) -> None:
    proto = network()
    data = {"x": np.concatenate([feeds["x"] for feeds in batches_for(proto)])}
    options: dict[str, Any] = {"sequential": sequential, "sparsity": 0.8, "effort": "fast"}
    plain, bare = (
        onnx_lobs.prune(proto, data, correct=correct, **options)
        for correct in (True if sequential else None, False)
    )
    assert bare.report.correction is None
    record = plain.report.correction
    assert record is not None
    assert record.sites == 3
    if not sequential:
        assert record.kind != "none"
        assert plain.report.output.error < bare.report.output.error  # type: ignore[operator]
    assert record.after is None or record.after < record.before  # type: ignore[operator]
    for _ in range(2):
        again = onnx_lobs.prune(
            proto, data, cache=str(tmp_path), correct=True if sequential else None, **options
        )
        assert again.model.SerializeToString() == plain.model.SerializeToString()
    assert plain.report.totals.zeros == bare.report.totals.zeros
    assert np.isfinite(run(plain.model, x=data["x"][:2])["y"]).all()


def test_external_data_give_what_embedded_weights_give(tmp_path: Path) -> None:
    proto = chain("Conv")
    data = {"x": np.concatenate([feeds["x"] for feeds in batches_for(proto)])}
    options: dict[str, Any] = {
        "method": "magnitude",
        "refit": False,
        "correct": True,
        "min_weights": 1,
    }
    plain = onnx_lobs.prune(proto, data, **options)
    assert plain.report.correction is not None
    assert plain.report.correction.layers
    path, out = tmp_path / "model.onnx", tmp_path / "out.onnx"
    onnx.save(copy_of(proto), path, save_as_external_data=True, size_threshold=0)
    report = prune_file(path, out, PruneConfig(**options), data=data)
    assert report.correction == plain.report.correction
    written = onnx.load(out)
    for tensor in plain.model.graph.initializer:
        np.testing.assert_array_equal(
            initializer(written, tensor.name), onnx.numpy_helper.to_array(tensor)
        )


def test_a_half_precision_model_keeps_its_types_and_runs() -> None:
    nodes = [NODE("Gemm", ["x", "w"], ["c"], name="layer"), norm("c", "y")]
    half = {name: array.astype(np.float16) for name, array in statistics(8).items()}
    half["w"] = normal(1, 16, 8, dtype=np.float16)
    inputs, outputs = (
        [value(name, [None, size], onnx.TensorProto.FLOAT16)]
        for name, size in (("x", 16), ("y", 8))
    )
    proto = model(nodes, inputs, outputs, half)
    data = {"x": 2 + normal(0, 320, 16, dtype=np.float16)}
    result = onnx_lobs.prune(
        proto, data, sparsity=0.8, method="magnitude", refit=False, correct=True
    )
    assert result.report.correction is not None
    assert result.report.correction.norms == 1
    assert initializer(result.model, "var").dtype == np.float16
    assert np.isfinite(run(result.model, **data)["y"]).all()


def test_what_is_left_uncorrected_is_a_warning() -> None:
    data = {"x": normal(0, 64, 8)}
    report = onnx_lobs.prune(skipped("tied"), data, sparsity=0.5, correct=True).report
    assert any("'mean' is used elsewhere too" in warning for warning in report.warnings)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"method": "lobs"}, {"method": "magnitude", "refit": False}, {"method": "joint"}]
)
def test_bare_methods_and_sequential_runs_are_corrected_only_when_asked(
    options: dict[str, Any],
) -> None:
    result = onnx_lobs.prune(chain("Gemm"), {"x": normal(0, 64, 6)}, min_weights=1, **options)
    assert result.report.correction is None
