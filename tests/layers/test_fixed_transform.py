"""Fixed transforms of signals are left dense unless they are named, whatever node holds them."""

from __future__ import annotations

import numpy as np
import pytest
from build_onnx import Array, model, normal, one_node, value
from onnx import ModelProto, TensorProto, helper

from onnx_lobs import prune
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.find import LayerFilter, find_layers
from onnx_lobs.layers.fixed_transform import MOST_WEIGHTS
from onnx_lobs.layers.refusal import RefusalKind
from onnx_lobs.verbs.inspect import inspect

N = 64
ANGLE = 2 * np.pi * np.arange(N // 2 + 1)[:, None] * np.arange(N) / N
BASIS = (np.concatenate([np.cos(ANGLE), -np.sin(ANGLE)]) * np.hanning(N)).astype(np.float32)
FILTERS = np.maximum(0, 1 - np.abs(np.arange(33) / 4 - np.arange(1, 8)[:, None])).astype(np.float32)

NODES: dict[str, ModelProto] = {
    "Conv": one_node("Conv", {"w": BASIS[:, None]}, rank=3, strides=[16]),
    "Conv over a picture": one_node("Conv", {"w": BASIS[:, None, None]}, rank=4),
    "ConvTranspose": one_node("ConvTranspose", {"w": BASIS[:, None]}, rank=3, strides=[16]),
    "MatMul": one_node("MatMul", {"w": np.ascontiguousarray(BASIS.T)}),
    "Gemm": one_node("Gemm", {"w": BASIS}, transB=1),
    "filters": one_node("MatMul", {"w": np.ascontiguousarray(FILTERS.T)}),
    "pointwise filters": one_node("Conv", {"w": FILTERS[:, :, None]}, rank=3),
    "half precision": one_node(
        "MatMul", {"w": BASIS.T.astype(np.float16)}, elem_type=TensorProto.FLOAT16
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_a_fixed_transform_is_left_dense_with_a_way_out(name: str) -> None:
    layers, (skip,) = find_layers(Model(NODES[name], None))
    assert layers == ()
    assert skip.refusal.kind is RefusalKind.FIXED_TRANSFORM
    assert "a fixed transform, not a trained weight: " in skip.reason
    assert "--include" in skip.reason
    assert "--layer-sparsity" in skip.reason


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("chosen", [LayerFilter(include=("w",)), LayerFilter(own=("w",))])
def test_a_fixed_transform_that_is_named_is_pruned(name: str, chosen: LayerFilter) -> None:
    layers, skips = find_layers(Model(NODES[name], None), chosen)
    assert [layer.weight for layer in layers] == ["w"]
    assert skips == ()


def test_a_weight_that_was_trained_is_pruned() -> None:
    layers, _ = find_layers(Model(one_node("MatMul", {"w": normal(1, N, 66)}), None))
    assert len(layers) == 1


def test_weights_larger_than_any_transform_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onnx_lobs.layers.fixed_transform.MOST_WEIGHTS", BASIS.size - 1)
    assert BASIS.size < MOST_WEIGHTS
    assert len(find_layers(Model(NODES["Gemm"], None))[0]) == 1


def spectrogram() -> ModelProto:
    """Sound to a spectrum, its power, mel filters, and a layer that was trained."""
    weights: dict[str, Array] = {
        "basis": BASIS[:33, None],
        "filters": np.ascontiguousarray(FILTERS.T),
        "fc": normal(3, 7, 12),
    }
    nodes = [
        helper.make_node("Conv", ["x", "basis"], ["s"], name="stft", strides=[16]),
        helper.make_node("Mul", ["s", "s"], ["power"]),
        helper.make_node("Transpose", ["power"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "filters"], ["m"], name="mel"),
        helper.make_node("MatMul", ["m", "fc"], ["y"], name="fc"),
    ]
    return model(nodes, [value("x", ["n", 1, 256])], ["y"], weights)


def test_a_run_keeps_them_and_lists_them() -> None:
    proto = spectrogram()
    result = prune(proto, {"x": normal(1, 40, 1, 256)}, sparsity=0.5, allocation="uniform")
    assert [layer.name for layer in result.report.layers] == ["fc"]
    assert {skip.node: skip.kind for skip in result.report.skipped} == {
        "stft": "fixed transform",
        "mel": "fixed transform",
    }
    kept = {tensor.name: tensor for tensor in result.model.graph.initializer}
    for tensor in proto.graph.initializer:
        assert (kept[tensor.name].raw_data == tensor.raw_data) is (tensor.name != "fc")


def test_inspect_lists_them() -> None:
    found = inspect(spectrogram())
    assert [row.name for row in found.layers] == ["fc"]
    assert [skip.kind for skip in found.skipped] == ["fixed transform"] * 2


def test_a_sparsity_of_its_own_prunes_one_of_them() -> None:
    result = prune(
        spectrogram(),
        {"x": normal(1, 40, 1, 256)},
        sparsity=0.5,
        allocation="uniform",
        layer_sparsity={"mel": 0.8},
    )
    assert [layer.name for layer in result.report.layers] == ["mel", "fc"]
