"""Parts of a network are fitted with zeros fixed, and only what helps is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import model, normal, run, value
from onnx import TensorProto, helper
from retrained_networks import X, network, tensors

import onnx_lobs
from onnx_lobs.report.record import BlocksRecord
from onnx_lobs.report.summary import block_words
from onnx_lobs.run.blocks import in_run

DATA = {"x": X}
SAME = 1e-5  # float32, summed up in another order
QUICK: dict[str, Any] = {
    "min_weights": 1, "allocation": "uniform", "method": "magnitude", "sparsity": 0.5,
}  # fmt: skip
HELD = np.concatenate([X[start : start + 32] for start in range(288, len(X), 320)])


def test_parts_come_nearer_and_zeros_stay() -> None:
    alone = onnx_lobs.prune(network(), DATA, **QUICK)
    both = onnx_lobs.prune(network(), DATA, refit_blocks=True, **QUICK)
    record = both.report.blocks
    assert record is not None
    assert record.is_kept
    assert 0 < record.fitted <= record.spans
    assert record.error_before is not None
    assert record.error_after is not None
    assert record.error_after < record.error_before
    old, new = tensors(alone.model), tensors(both.model)
    for name in ("w1", "w2", "w3"):
        np.testing.assert_array_equal(old[name] == 0, new[name] == 0)
    dense, other = (run(proto, x=HELD)["y"] for proto in (network(), both.model))
    error = np.square(dense - other).sum() / np.square(dense).sum()
    assert error == pytest.approx(both.report.output.error, rel=SAME)
    assert error == pytest.approx(record.error_after, rel=SAME)


@pytest.mark.slow
def test_few_samples_are_judged_by_the_delivered_fit_alone() -> None:
    options: dict[str, Any] = {**QUICK, "batch_size": 4}
    alone = onnx_lobs.prune(network(), {"x": X[:48]}, **options)
    record = onnx_lobs.prune(network(), {"x": X[:48]}, refit_blocks=True, **options).report.blocks
    assert alone.report.output.n_fits > 1
    assert record is not None
    dense, other = (run(proto, x=X[36:40])["y"] for proto in (network(), alone.model))
    error = np.square(dense - other).sum() / np.square(dense).sum()
    assert error == pytest.approx(record.error_before, rel=SAME)


def test_what_does_not_help_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    refit = in_run.refit_whole

    def spoiled(*given: Any) -> Any:
        return {name: -value for name, value in refit(*given).items()}

    monkeypatch.setattr(in_run, "refit_whole", spoiled)
    alone = onnx_lobs.prune(network(), DATA, **QUICK)
    both = onnx_lobs.prune(network(), DATA, refit_blocks=True, **QUICK)
    assert both.report.blocks is not None
    assert not both.report.blocks.is_kept
    assert both.report.output == alone.report.output
    old, new = tensors(alone.model), tensors(both.model)
    for name, kept in old.items():
        np.testing.assert_array_equal(kept, new[name])


def test_nothing_is_fitted_where_no_floating_output_tells_what_to_keep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proto = network()
    proto.graph.node.append(helper.make_node("ArgMax", ["y"], ["best"], axis=1, keepdims=0))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, ["n"]))
    monkeypatch.setattr(in_run, "refit_spans", None)  # which cannot be called
    record = onnx_lobs.prune(proto, DATA, refit_blocks=True, **QUICK).report.blocks
    assert record is not None
    assert (record.spans, record.fitted, record.is_kept) == (0, 0, False)
    assert block_words(record) == "no floating output tells what to keep; nothing was fitted"


@pytest.mark.parametrize(
    ("fitted", "is_kept", "words"),
    [
        (0, False, "0 of 3 parts fitted; nothing was kept"),
        (2, False, "2 of 3 parts fitted; output error 0.500 -> 0.250, not kept"),
        (2, True, "2 of 3 parts fitted; output error 0.500 -> 0.250"),
    ],
)
def test_a_line_tells_what_was_fitted_and_kept(fitted: int, is_kept: bool, words: str) -> None:
    assert block_words(BlocksRecord(3, fitted, 0.5, 0.25, is_kept, 1.0)) == words


def test_a_network_of_two_parts_is_fitted_part_by_part_and_as_a_whole() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["y"]),
    ]
    weights = {f"w{n}": normal(n, 8, 8) for n in range(4)}
    proto = model(nodes, [value("x", ["n", 8])], ["y"], weights)
    both = onnx_lobs.prune(proto, {"x": normal(9, 640, 8)}, refit_blocks=True, **QUICK)
    record = both.report.blocks
    assert record is not None
    assert record.spans == 3
    assert record.fitted == 3
    assert record.is_kept
    assert record.error_after is not None
    assert record.error_before is not None
    assert record.error_after < 0.95 * record.error_before
