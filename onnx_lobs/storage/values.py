"""Holds the table of value kinds: in how many bits the values of pruned weights are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import GraphProto, ModelProto, TensorProto

from onnx_lobs.graph.model import Model
from onnx_lobs.storage.half import encode_half
from onnx_lobs.storage.int8 import LEAST_OPSET, Scales, encode_int8
from onnx_lobs.storage.stored_weights import FreshNames, lift_constants

EncodeValues = Callable[
    [GraphProto, Mapping[str, Scales | None], FreshNames, Path | None], dict[str, str]
]


@dataclass(frozen=True)
class WeightValues:
    """A weight whose values are stored anew: its scope, its name, its scales if it has them."""

    scope: int
    name: str
    scales: Scales | None = None


@dataclass(frozen=True)
class Precision:
    """One row of the table.

    Parameters
    ----------
    name
        What the user writes.
    encode
        Stores those initializers of a graph so that have just such values, in place: given the
        graph, their scales by name, and where names come from, it returns the names of what holds
        them now, by their own.
    element
        ONNX element type of what holds them; None: that of the weight.
    least_opset
        The first operator set that has what restores them.
    hint
        What to expect of such a file, for the report.
    """

    name: str
    encode: EncodeValues
    element: int | None
    least_opset: int
    hint: str

    def stand_in(self, tensor: TensorProto) -> TensorProto:
        """Return name, dims and element type of what holds the values of a tensor."""
        is_wider = self.element is not None and tensor.data_type in _WIDER[self.element]
        kind = self.element if is_wider else tensor.data_type
        return TensorProto(name=tensor.name, dims=tensor.dims, data_type=kind)

    def itemsize(self, stored: int) -> int:
        """Return the bytes of a value whose weight is stored in so many."""
        return stored if self.element is None else min(stored, _BYTES[self.element])


_BYTES: Mapping[int, int] = {TensorProto.FLOAT16: 2, TensorProto.INT8: 1}
_WIDER: Mapping[int, Sequence[int]] = {
    TensorProto.FLOAT16: (TensorProto.FLOAT, TensorProto.DOUBLE),
    TensorProto.INT8: (
        TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16,
    ),
}  # fmt: skip


def _keep(*_: object) -> dict[str, str]:
    return {}


VALUES: Mapping[str, Precision] = {
    each.name: each
    for each in (
        Precision("fp32", _keep, None, 0, ""),
        Precision(
            "fp16", encode_half, TensorProto.FLOAT16, 0,
            "weights are float16 in the file, and cast when it is loaded.",
        ),
        Precision(
            "int8", encode_int8, TensorProto.INT8, LEAST_OPSET,
            "weights are int8 in the file, behind a DequantizeLinear, and most runtimes compute in "
            "float with them. onnxruntime dequantises those of a Conv at every run, and multiplies "
            "those of a MatMul in 8 bits: with the session option session.disable_quant_qdq=1 it "
            "dequantises all of them once, when it loads them.",
        ),
    )
}  # fmt: skip


def encode_values(
    proto: ModelProto, weights: Sequence[WeightValues], kind: Precision, folder: Path | None = None
) -> list[str]:
    """Store the values of weights as a kind says, in place.

    Parameters
    ----------
    proto
        Changed in place; what it computes is not.
    weights
        Those to look at. What has other values, or none that the kind holds exactly, stays.
    folder
        Folder of the model file; needed for external data only.

    Returns
    -------
    list of str
        For each weight, the name of the tensor that holds its values now.
    """
    names = [weight.name for weight in weights]
    if kind.element is None:
        return names
    lift_constants(proto, set(names))
    model, fresh = Model(proto, folder), FreshNames(proto)
    held: dict[tuple[int, str], str] = {}
    for scope in model.scopes:
        own = {weight.name: weight.scales for weight in weights if weight.scope == scope.index}
        found = kind.encode(scope.graph, own, fresh, folder)
        held |= {(scope.index, name): new for name, new in found.items()}
    return [held.get((weight.scope, weight.name), weight.name) for weight in weights]
