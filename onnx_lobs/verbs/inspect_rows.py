"""Describes what ``inspect`` lists: layers with their zeros and work, inputs and outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.arrays import BoolArray
from onnx_lobs.graph.inferred_shapes import KnownShape
from onnx_lobs.graph.model import Model
from onnx_lobs.layers.layer import Layer
from onnx_lobs.layers.work import multiplications
from onnx_lobs.patterns import Pattern, parse_pattern

# that runtimes and instruction sets have kernels for, and the commonest blocks, largest first
KNOWN_PATTERNS = ("1:4", "2:4", "4:8", "16x1", "8x1", "4x4", "4x1", "1x16", "1x8", "1x4")
FEW_ZEROS = 0.1  # share of zeros below which no pattern is looked for


@dataclass(frozen=True)
class LayerRow:
    """One layer: its stored weight, its problem's shape, its zeros, and its work.

    ``multiplications`` are those of one sample, None where they depend on sizes that the model
    leaves open; ``patterns`` are those that its zeros keep to; ``is_met`` says it of the pattern
    that was asked for.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    groups: int
    rows: int
    columns: int
    weights: int
    zeros: int
    uses: int
    multiplications: int | None = None
    patterns: tuple[str, ...] = ()
    is_met: bool | None = None

    @property
    def work_left(self) -> int | None:
        """The multiplications by weights that are not zero, of one sample."""
        whole = self.multiplications
        return None if whole is None else whole * (self.weights - self.zeros) // self.weights


@dataclass(frozen=True)
class ValueRow:
    """An input or output: its name, type, and shape; open sizes are names, or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


def layer_row(
    model: Model,
    layer: Layer,
    shapes: Mapping[str, KnownShape],
    samples: int,
    pattern: Pattern | None,
) -> LayerRow:
    """Return the row of a layer.

    Parameters
    ----------
    shapes, samples
        Of the main graph's values, and how many samples they are for.
    pattern
        What is asked for, or None.
    """
    tensor = model.constant(model.scopes[layer.scope], layer.weight)
    assert tensor is not None
    values, layout = model.value(tensor), layer.layout
    zeros = int(layer.size - np.count_nonzero(values))
    mask = layout.to_matrix(layer.chain.apply(values)) != 0
    has_some = zeros >= FEW_ZEROS * layer.size
    return LayerRow(
        name=layer.name,
        op=layer.op,
        shape=tuple(tensor.dims),
        dtype=layer.dtype.name,
        groups=layout.groups,
        rows=layout.rows,
        columns=layout.columns,
        weights=layer.size,
        zeros=zeros,
        uses=len(layer.uses),
        multiplications=multiplications(layer, shapes, samples),
        patterns=tuple(_kept_to(mask, layer.kernel_size)) if has_some else (),
        is_met=None if pattern is None else _is_met(pattern, mask, layer.kernel_size),
    )


def _is_met(pattern: Pattern, mask: BoolArray, kernel_size: int) -> bool:
    """Whether zeros keep to a pattern; where none are, one without a share of its own is not."""
    has_own = pattern.own_sparsity is not None
    return pattern.allows(mask, kernel_size) and (has_own or not bool(mask.all()))


def _kept_to(mask: BoolArray, kernel_size: int) -> Iterator[str]:
    """Yield the patterns that zeros keep to, but those that another one implies."""
    found = [name for name in KNOWN_PATTERNS if parse_pattern(name).allows(mask, kernel_size)]
    implied = {"2:4", "4:8"} if "1:4" in found else {"4:8"} if "2:4" in found else set[str]()
    if "16x1" in found:
        implied |= {"8x1", "4x1"}
    if "1x16" in found:
        implied |= {"1x8", "1x4"}
    yield from (name for name in found if name not in implied)


def value_rows(
    values: Sequence[onnx.ValueInfoProto], without: Iterable[str] = ()
) -> tuple[ValueRow, ...]:
    """Return the rows of inputs or outputs; initializers among them are `without`."""
    left = set(without)
    return tuple(value_row(value) for value in values if value.name not in left)


def value_row(value: onnx.ValueInfoProto) -> ValueRow:
    """Return the row of one input or output."""
    if not value.type.HasField("tensor_type"):
        return ValueRow(value.name, str(value.type.WhichOneof("value")).removesuffix("_type"), None)
    tensor = value.type.tensor_type
    known = onnx.TensorProto.DataType.values()
    kind = tensor.elem_type
    dtype = onnx.TensorProto.DataType.Name(kind).lower() if kind in known else f"type {kind}"
    if not tensor.HasField("shape"):
        return ValueRow(value.name, dtype, None)
    sizes = (d.dim_value if d.dim_value > 0 else d.dim_param or None for d in tensor.shape.dim)
    return ValueRow(value.name, dtype, tuple(sizes))


def count_operators(graph: onnx.GraphProto) -> dict[str, int]:
    """Return how often each operator occurs, in branches and loops too, the commonest first."""
    counts = Counter(name for name in _operators(graph))
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _operators(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _operators(inner)
