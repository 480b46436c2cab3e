"""Stores weights that are computed from constants, so that their layers can be pruned.

Exporters leave such weights behind: weight normalisation (a Mul, a Div and a norm of constants), a
Slice of a fused matrix, a low-rank update. Which of them are folded is said in
:mod:`onnx_lobs.layers.fold_choice`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from onnx import TensorProto

from onnx_lobs.arrays import Array
from onnx_lobs.errors import InferenceError
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.files.tensors import raw_size
from onnx_lobs.graph.folding.compute import compute
from onnx_lobs.graph.folding.cone import ConstantPart, Value
from onnx_lobs.graph.folding.replace import describe, replace
from onnx_lobs.graph.model import DEFAULT_DOMAINS, Model, first_output
from onnx_lobs.layers.chain import REMEDY_QUANTISED, Stop, trace
from onnx_lobs.layers.find import iter_places
from onnx_lobs.layers.fold_choice import MOST_INSIDE, choose, groups, not_folded, too_large
from onnx_lobs.layers.operators import OPERATORS
from onnx_lobs.layers.place import NodePlace
from onnx_lobs.layers.refusal import Refusal, RefusalKind

WHOLE = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    TensorProto.INT64, TensorProto.INT32, TensorProto.INT16, TensorProto.UINT64,
    TensorProto.UINT32, TensorProto.UINT16, TensorProto.BOOL,
)  # fmt: skip
"""element types that are no quantised numbers"""
SHOWN = 3  # names in the note


@dataclass(frozen=True)
class Folding:
    """Says which weights of a model were folded, and why others were not.

    Attributes
    ----------
    weights
        The names that they have and had.
    refused
        Why, by scope and first output of the node that multiplies by the weight.
    """

    weights: tuple[str, ...] = ()
    refused: Mapping[Value, Refusal] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What a report says of it: nothing, or one sentence."""
        if not self.weights:
            return []
        names = ", ".join(map(repr, self.weights[:SHOWN]))
        more = len(self.weights) - SHOWN
        names += f" and {more} more" if more > 0 else ""
        what = "weight was" if len(self.weights) == 1 else "weights were"
        kept = "is" if len(self.weights) == 1 else "are"
        return [
            f"{len(self.weights)} {what} computed from constants and {kept} stored folded: {names}"
        ]


def fold_weights(loaded: LoadedModel) -> Folding:
    """Fold the weights that are computed from constants, in place, where that makes layers.

    Returns
    -------
    Folding
        Weights that are folded have the values that onnxruntime computes, to the bit.

    Notes
    -----
    A model without such weights is not changed. Cost: two passes over the nodes, and what
    computing the weights costs; memory: the weights that are folded twice, one of them for as long
    as it takes, and :func:`~onnx_lobs.graph.folding.compute.compute` for those that share a
    constant.
    """
    model = Model(loaded.proto, loaded.folder)
    wanted = _find_computed(model)
    if not wanted:
        return Folding()
    part = ConstantPart(model)
    readers = {value: places for value, places in wanted.items() if value in part.makers}
    if not readers:
        return Folding()
    refused: dict[Value, Refusal] = {}
    arrays = _compute(part, _unquantised(part, readers, refused), refused)
    described = {value: describe(part, value, array) for value, array in arrays.items()}
    kept = choose(part, readers, described, refused)
    if kept:
        replace(part, kept, arrays)
    reasons = {
        (place.scope.index, first_output(place.node)): refusal
        for value, refusal in refused.items()
        for place in readers[value]
    }
    return Folding(tuple(name for _, name in kept), reasons)


def _find_computed(model: Model) -> dict[Value, list[NodePlace]]:
    """Return the values at which the way back from a weight ends, and the nodes that read it."""
    found: dict[Value, list[NodePlace]] = {}
    for place in iter_places(model):
        node = place.node
        if node.op_type not in OPERATORS or node.domain not in DEFAULT_DOMAINS:
            continue
        places = (p for p in OPERATORS[node.op_type].weights if p < len(node.input))
        for position in places:
            stop = trace(model, place.scope, node.input[position])
            if isinstance(stop, Stop) and stop.may_be_computed:
                found.setdefault((stop.scope, stop.name), []).append(place)
    return found


def _unquantised(
    part: ConstantPart, values: Collection[Value], refused: dict[Value, Refusal]
) -> list[Value]:
    """Return the values that are computed from no narrow numbers."""
    rest = []
    for value in values:
        constants = part.cone([value]).constants.values()
        narrow = next((t.data_type for t in constants if t.data_type not in WHOLE), None)
        if narrow is None:
            rest.append(value)
        else:
            kind = TensorProto.DataType.Name(narrow).lower()
            reason = f"its weight is quantised, computed from {kind}: {REMEDY_QUANTISED}"
            refused[value] = Refusal(RefusalKind.QUANTISED, reason)
    return rest


def _compute(
    part: ConstantPart, values: Sequence[Value], refused: dict[Value, Refusal]
) -> dict[Value, Array]:
    """Return the values that can be computed: those that share a large constant at a time."""
    arrays: dict[Value, Array] = {}
    total = 0
    for group in groups(part, values):
        needed = sum(map(raw_size, part.cone(group).constants.values()))
        if max(needed, total) > MOST_INSIDE:
            refused |= {value: too_large(part, value) for value in group}
            continue
        try:
            arrays |= compute(part, group)
        except InferenceError as error:
            refused |= {value: not_folded(part, value, f", and {error}") for value in group}
            continue
        total += sum(arrays[value].nbytes for value in group)
    return arrays
