"""Losses are what NumPy makes of them, and their gradients their differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from build_onnx import model, value
from onnx import TensorProto, ValueInfoProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.graph.derivatives.losses import AppendedLoss, cross_entropy, squared_distance
from onnx_lobs.graph.derivatives.reverse import gradient_writer
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session

RNG = np.random.default_rng(3)
SCORES = RNG.standard_normal((4, 5)) * 20  # far apart: exponentials must not overflow
TARGETS = RNG.dirichlet(np.ones(5), 4)
STEP, CLOSE = 1e-5, 1e-6  # central differences in float64


def appended(append: Any, **options: Any) -> tuple[Session, AppendedLoss]:
    """Return a session of an identity with a loss, and the loss."""
    node = helper.make_node("Identity", ["x"], ["y"])
    shapes = [4, 5], TensorProto.DOUBLE
    proto = model([node], [value("x", *shapes)], [value("y", *shapes)])
    made = Model(proto, None)
    loss = append(gradient_writer(made), "y", (4, 5), np.dtype(np.float64), **options)
    proto.graph.output.extend(ValueInfoProto(name=name) for name in (loss.loss, loss.gradient))
    return Session(proto), loss


def by_differences(session: Session, loss: AppendedLoss) -> Array:
    """Return the differences of the loss in every score."""
    result = np.zeros_like(SCORES)
    for place in np.ndindex(SCORES.shape):
        ends = []
        for sign in (1, -1):
            moved = SCORES.copy()
            moved[place] += sign * STEP
            ends.append(session.run({"x": moved, loss.target: TARGETS})[loss.loss].item())
        result[place] = (ends[0] - ends[1]) / (2 * STEP)
    return result


@pytest.mark.parametrize(
    ("append", "options"),
    [(cross_entropy, {}), (squared_distance, {}), (squared_distance, {"axis": 1})],
)
def test_gradient_is_the_difference_of_the_loss(append: Any, options: dict[str, int]) -> None:
    session, loss = appended(append, **options)
    got = session.run({"x": SCORES, loss.target: TARGETS})[loss.gradient]
    expected = by_differences(session, loss)
    np.testing.assert_allclose(got, expected, rtol=CLOSE, atol=CLOSE * np.abs(expected).max())


def test_cross_entropy_is_the_mean_over_samples() -> None:
    session, loss = appended(cross_entropy)
    logs = SCORES - SCORES.max(1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(1, keepdims=True))
    got = session.run({"x": SCORES, loss.target: TARGETS})[loss.loss]
    np.testing.assert_allclose(got.item(), -(TARGETS * logs).sum() / 4)


def test_distance_less_means_does_not_see_what_a_softmax_does_not() -> None:
    session, loss = appended(squared_distance, axis=1)
    moved = TARGETS + np.arange(4.0)[:, None]
    one, other = (session.run({"x": SCORES, loss.target: t})[loss.loss] for t in (TARGETS, moved))
    np.testing.assert_allclose(one, other)
