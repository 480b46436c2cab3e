"""Figures of each output and of all, against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import normal
from networks import Array, Network, batches_of, same, shown

from onnx_lobs.evaluation.output import NetworkChange, OutputChange, output_change
from onnx_lobs.evaluation.score import DenseOutputs

EXACT = 1e-12  # float64 sums in another order
DATA = batches_of(normal(1, 5, 3), normal(2, 2, 3))
NAN = float("nan")


def change_of(before: Network, after: Network) -> NetworkChange:
    return output_change(DenseOutputs(before, DATA), after, DATA)


def one(before: Any, after: Any) -> OutputChange:
    """The change of a single output of one batch."""
    x = normal(1, 2, 3)
    data = batches_of(x)
    dense, pruned = Network(y=lambda x: before), Network(y=lambda x: after)
    (output,) = output_change(DenseOutputs(dense, data), pruned, data).outputs
    return output


def test_figures_are_those_of_all_samples_together() -> None:
    w = normal(3, 3, 4).astype(np.float64)
    v = w + 0.1 * normal(4, 3, 4)
    found = change_of(Network(y=lambda x: x @ w), Network(y=lambda x: x @ v))
    x = np.concatenate([feeds["x"] for feeds in DATA]).astype(np.float64)
    a, b = x @ w, x @ v
    (output,) = found.outputs
    assert output.name == "y"
    assert output.shape == (5, 4)
    assert output.error == pytest.approx(np.square(b - a).sum() / np.square(a).sum(), rel=EXACT)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    assert output.cosine == pytest.approx(((a * b).sum(1) / norms).mean(), rel=EXACT)
    assert output.agreement == (a.argmax(1) == b.argmax(1)).mean()
    assert output.max_change == np.abs(b - a).max()
    assert output.largest == np.abs(a).max()
    assert (found.error, output.note) == (output.error, "")


def test_the_total_weighs_outputs_by_their_energy() -> None:
    dense = Network(a=same, b=lambda x: 8 * x)
    pruned = Network(a=lambda x: 2 * x, b=lambda x: 8 * x)
    # changes x of x and 0 of 8 x, which float32 holds exactly
    assert change_of(dense, pruned).error == pytest.approx(1 / 65, rel=EXACT)


def test_a_network_that_did_not_change_has_error_zero() -> None:
    found = change_of(Network(y=same), Network(y=same))
    assert found.error == 0.0
    assert found.outputs[0].cosine == pytest.approx(1.0, rel=EXACT)
    assert found.outputs[0].agreement == 1.0


def test_every_batch_is_told_and_both_networks_run_once_on_each() -> None:
    told: list[int] = []
    dense, pruned = Network(y=same), Network(y=same)
    output_change(DenseOutputs(dense, DATA), pruned, DATA, told.append)
    assert (told, dense.runs, pruned.runs) == ([1, 1], 2, 2)


def test_zeros_that_stay_are_no_error_and_zeros_that_do_not_have_none() -> None:
    zeros = np.zeros((2, 3), np.float32)
    assert one(zeros, zeros).error == 0.0
    assert one(zeros, zeros + 1).error is None
    assert one(zeros, zeros + 1).max_change == 1.0


def test_integers_have_agreement_alone() -> None:
    assert one(np.array([1, 2]), np.array([1, 3])) == OutputChange("y", (2,), agreement=0.5)
    assert change_of(Network(y=lambda x: x > 0), Network(y=lambda x: x > 0)).error is None


def test_nan_in_the_same_place_is_left_out_and_said() -> None:
    before, after = shown([NAN, 2, 0], [1, 1, 1]), shown([NAN, 2, 1], [1, 1, 1])
    output = one(before, after)
    assert output.error == pytest.approx(1 / 7, rel=EXACT)
    assert output.note == "1 values are NaN or infinite in both networks and left out"


@pytest.mark.parametrize(("a", "b"), [(1.0, NAN), (NAN, 1.0), (np.inf, -np.inf), (1.0, np.inf)])
def test_nan_in_one_network_alone_leaves_no_figures_and_is_said(a: float, b: float) -> None:
    before, after = shown([a, 2, 3], [1, 1, 1]), shown([b, 2, 3], [1, 1, 1])
    output = one(before, after)
    assert (output.error, output.cosine, output.max_change) == (None, None, None)
    assert "are NaN or infinite, 1 of them not in both alike; no error" in output.note


def test_an_output_that_cannot_be_compared_takes_the_total_with_it() -> None:
    def spoil(x: Array) -> Array:
        return np.where(x == x.max(), NAN, x)

    found = change_of(Network(a=same, b=same), Network(a=same, b=spoil))
    assert found.error is None
    assert found.outputs[0].error == 0.0
    (note,) = found.notes
    assert note.startswith("output 'b': 0 values of the dense network and 2 of the pruned")


def test_an_output_whose_shape_changed_has_a_note() -> None:
    output = one(shown([1, 2]), shown([1, 2], [3, 4]))
    assert output.error is None
    assert "its shape changed from (1, 2) to (2, 2)" in output.note


@pytest.mark.parametrize(
    ("value", "words"),
    [(["a"], "not compared: a list, no tensor"), (np.array(["a"]), "not compared: <U1 and <U1")],
)
def test_what_is_no_number_is_not_compared(value: Any, words: str) -> None:
    output = one(value, value)
    assert (output.error, output.agreement, output.note) == (None, None, words)


def test_an_output_without_values_has_no_means() -> None:
    empty = np.zeros((0, 4), np.float32)
    output = one(empty, empty)
    assert (output.error, output.cosine, output.agreement) == (0.0, None, None)
