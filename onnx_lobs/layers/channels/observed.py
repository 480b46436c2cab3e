"""Observes the shape of every value of a model, by one run, and what follows from constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import Array, Feeds
from onnx_lobs.graph.model import Model, Scope
from onnx_lobs.graph.run.session import Session

MOST_KEPT = 1 << 14  # numbers of a value that is kept: shapes, indices and pads are shorter


@dataclass(frozen=True, eq=False)
class Observed:
    """What one run shows of the main graph of a model.

    Parameters
    ----------
    model
        The model.
    shapes
        Of every value and constant of the main graph, at the size of one batch; what is no tensor
        is missing.
    fixed
        Whole numbers that are computed from constants alone, so that they are those of any run.
    inferred
        Shapes that hold for any data, from ONNX's shape inference; None for a size that varies.
    """

    model: Model
    shapes: Mapping[str, tuple[int, ...]]
    fixed: Mapping[str, Array]
    inferred: Mapping[str, tuple[int | None, ...]]

    def known(self, name: str) -> Array | None:
        """Return the values of a constant, or of what is computed from constants, or None."""
        if name in self.fixed:
            return self.fixed[name]
        scope = self.model.main
        tensor = self.model.constant(scope, name)
        if tensor is None or self.model.is_default(scope, name):
            return None
        return self.model.value(tensor)


def observe(model: Model, feeds: Feeds) -> Observed:
    """Run the model once and note the shapes of all values.

    Cost: one run on `feeds`, of which every value is kept until it ends.

    Raises
    ------
    ModelError, InferenceError
        When onnxruntime cannot load or run the model as it is stored.
    """
    main = model.main
    shapes = {name: tuple(int(d) for d in t.dims) for name, t in _constants(model, main).items()}
    made = [o for node in main.graph.node for o in node.output if o and o not in shapes]
    shown = [name for name in made if name not in main.outputs]
    session = Session(model.proto, folder=model.folder, light=True, shown=shown)
    values = session.run(feeds)
    fixed: dict[str, Array] = {}
    for name, value in {**feeds, **values}.items():
        if not isinstance(value, np.ndarray):
            continue
        shapes[name] = value.shape
        is_small = value.size <= MOST_KEPT and np.issubdtype(value.dtype, np.integer)
        if is_small and (0, name) in model.computed:
            fixed[name] = value
    return Observed(model, shapes, fixed, _inferred(model.proto))


def _constants(model: Model, scope: Scope) -> dict[str, onnx.TensorProto]:
    """Return the tensors of the initializers and Constant nodes of a scope."""
    found = dict(scope.initializers)
    for node in scope.graph.node:
        if node.op_type == "Constant":
            tensor = model.constant(scope, node.output[0])
            if tensor is not None:
                found[node.output[0]] = tensor
    return found


def _inferred(proto: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """Return what shape inference says of the main graph's values."""
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    found: dict[str, tuple[int | None, ...]] = {}
    for info in (*graph.value_info, *graph.output, *graph.input):
        tensor = info.type.tensor_type
        if tensor.HasField("shape"):
            found[info.name] = tuple(
                int(d.dim_value) if d.HasField("dim_value") else None for d in tensor.shape.dim
            )
    return found
