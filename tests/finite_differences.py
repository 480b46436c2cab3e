"""Compares the gradients that a graph is extended by with differences of its outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from build_onnx import model, value
from onnx import TensorProto, helper

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.derivatives.observed import observe
from onnx_lobs.graph.derivatives.reverse import Gradients, append_gradients, gradient_writer
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.session import Session

CPU = "CPUExecutionProvider"
# central differences in float64 with steps of 1e-5: errors of step² and of rounding over step
EXACT, FINE_STEP = 1e-6, 1e-5
# in float32 rounding over a step of 1e-2 is 1e-5 times the size of the outputs
ROUGH, COARSE_STEP = 1e-3, 1e-2


def extended(
    proto: onnx.ModelProto, feeds: Mapping[str, Array], wanted: Sequence[str]
) -> tuple[Model, Gradients, dict[str, Array]]:
    """Return a copy with the gradients of the outputs, by fixed random weights, as outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    made = Model(copy, None)
    values = observe(made, feeds, provider=CPU)
    writer = gradient_writer(made)
    rng = np.random.default_rng(5)
    shares = {
        out.name: rng.standard_normal(values.shapes[out.name]).astype(values.types[out.name])
        for out in copy.graph.output
        if values.types[out.name].kind == "f"
    }
    given = {name: writer.constant(share) for name, share in shares.items()}
    found = append_gradients(made, writer, given, wanted, values)
    for name in found.names.values():
        copy.graph.output.append(onnx.ValueInfoProto(name=name))
    return Model(copy, None), found, shares


def difference(
    session: Session,
    feeds: Mapping[str, Array],
    name: str,
    shares: Mapping[str, Array],
    step: float,
) -> Array:
    """Return the central differences of the weighted outputs in every element of one input."""
    result = np.zeros(feeds[name].size)
    for place in range(result.size):
        totals = []
        for sign in (1, -1):
            moved = feeds[name].copy()
            moved.reshape(-1)[place] += sign * step
            out = session.run({**feeds, name: moved}, list(shares))
            totals.append(sum(float((out[k].astype(float) * shares[k]).sum()) for k in shares))
        result[place] = (totals[0] - totals[1]) / (2 * step)
    return result.reshape(feeds[name].shape)


def check_gradients(
    proto: onnx.ModelProto,
    feeds: Mapping[str, Array],
    wanted: Sequence[str],
    step: float | None = None,
) -> None:
    """Assert that the gradients of the wanted inputs are the differences of the outputs."""
    is_fine = feeds[wanted[0]].dtype == np.float64
    tolerance = EXACT if is_fine else ROUGH
    step = step or (FINE_STEP if is_fine else COARSE_STEP)
    made, found, shares = extended(proto, feeds, wanted)
    assert not found.stopped, found.stopped
    got = Session(made.proto).run(feeds)
    session = Session(proto)
    for name in wanted:
        expected = difference(session, feeds, name, shares, step)
        gradient = got[found.names[name]]
        assert gradient.shape == feeds[name].shape
        assert gradient.dtype == feeds[name].dtype
        size = np.abs(expected).max()
        assert size > 0
        assert np.abs(gradient - expected).max() <= tolerance * size


def check_node(
    op: str,
    inputs: Sequence[Array],
    wanted: Sequence[int] = (0,),
    *,
    opset: int = 17,
    n_outputs: int = 1,
    step: float | None = None,
    as_given: Collection[int] = (),
    **attributes: Any,
) -> None:
    """Check the rule of one node; inputs that are not wanted are constants.

    Inputs `as_given` keep their type. Tried in float64 first; where onnxruntime has no such
    kernel, for the node or for its gradient,
    in float32.
    """
    for dtype in (np.float64, np.float32):
        cast = [
            x.astype(dtype) if x.dtype.kind == "f" and i not in as_given else x
            for i, x in enumerate(inputs)
        ]
        names = [f"x{i}" if x.size else "" for i, x in enumerate(cast)]
        kind = TensorProto.DOUBLE if dtype is np.float64 else TensorProto.FLOAT
        outputs = [f"y{k}" for k in range(n_outputs)]
        node = helper.make_node(op, names, outputs, **attributes)
        proto = model(
            [node],
            [value(names[i], cast[i].shape, kind) for i in wanted],
            [value(name, None, kind) for name in outputs],
            {
                n: x
                for i, (n, x) in enumerate(zip(names, cast, strict=True))
                if i not in wanted and n
            },
            opset=opset,
        )
        try:
            check_gradients(
                proto, {names[i]: cast[i] for i in wanted}, [names[i] for i in wanted], step
            )
        except ModelError as error:
            if dtype is np.float64 and "NOT_IMPLEMENTED" in repr(error.__cause__):
                continue
            raise
        return
