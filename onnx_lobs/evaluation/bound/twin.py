"""One network that runs the dense and the pruned model side by side and shows figures of both.

Nodes before the first difference are shared. For every unit whose constants differ, the twin
also runs the pruned unit on the dense network's inputs: how far that is from the dense output
is the unit's own error. Only numbers leave the twin, no activations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnx_lobs.evaluation.bound.pair import Pair, Unit, first_output, has_subgraphs
from onnx_lobs.evaluation.bound.rules import SAME_OUTPUTS, respond
from onnx_lobs.evaluation.bound.site import BoundSite, Step
from onnx_lobs.graph.files.tensors import write_tensor
from onnx_lobs.graph.model import DEFAULT_DOMAINS
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.writer import Writer

FLOATS = tuple(
    onnx.TensorProto.DataType.Value(n) for n in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
)
Shapes = Mapping[str, tuple[int, ...]]
_ZERO = np.zeros(1, np.float32)


@dataclass(frozen=True)
class Place:
    """One unit in the twin.

    Parameters
    ----------
    label
        Of the unit.
    inputs, outputs
        Names in the dense model: of the first node's inputs, and of the bounded outputs.
    step
        From the inputs' errors to the output's, or the reason why there is none.
    own
        Key of the unit's own error on dense inputs; None where no constant of it differs.
    """

    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    step: Step | str
    own: str | None


@dataclass(frozen=True)
class Gap:
    """Keys of one output: length of its change (None: not made in the twin) and of itself."""

    output: str
    change: str | None
    energy: str


@dataclass(frozen=True)
class Twin:
    """The session, what it shows of every unit and output, and the names of what may differ."""

    session: Session
    places: tuple[Place, ...]
    gaps: tuple[Gap, ...]
    perturbed: frozenset[str]


def make_twin(pair: Pair, shapes: Shapes, provider: str) -> Twin:
    """Return the twin network for values of the given shapes.

    Raises
    ------
    ModelError
        When onnxruntime cannot load it, for it is too large, say.
    """
    builder = _Builder(pair, shapes)
    places = tuple(builder.places())
    gaps = tuple(builder.gaps())
    proto = onnx.ModelProto(ir_version=pair.dense.proto.ir_version, graph=builder.graph)
    proto.opset_import.extend(pair.dense.proto.opset_import)
    proto.functions.extend(pair.dense.proto.functions)
    session = Session(proto, folder=pair.dense.folder, provider=provider, exact=True)
    return Twin(session, places, gaps, pair.perturbed)


class _Builder:
    """Writes the twin's graph node by node, so that activations can be freed early."""

    def __init__(self, pair: Pair, shapes: Shapes) -> None:
        self.pair, self.shapes = pair, shapes
        source = pair.dense.main.graph
        self.graph = onnx.GraphProto(name=source.name or "twin")
        self.graph.CopyFrom(source)
        self.names = self._new_names()
        self.writer = Writer(self.graph, pair.dense.opset)
        del self.graph.node[:]
        del self.graph.output[:]
        self.lost: set[str] = set()
        """values that differ but are not made in the twin"""

    def _new_names(self) -> dict[str, str]:
        known = {name for node in self.graph.node for name in node.output}
        known |= {t.name for t in self.graph.initializer} | {i.name for i in self.graph.input}
        prefix = "pruned__"
        while any(name.startswith((prefix, f"own__{prefix}")) for name in known):
            prefix += "_"
        return {name: prefix + name for name in (*self.pair.changed, *self.pair.perturbed)}

    def places(self) -> list[Place]:
        """Write all nodes; return what there is of every unit."""
        self._constants()
        units = {unit.output: unit for unit in self.pair.units() if unit.output}
        found = []
        for node in self.pair.dense.main.graph.node:
            self.graph.node.append(node)
            if node.output and node.output[0] in self.pair.makers:
                if self.pair.changed.intersection(node.output):
                    self.graph.node.append(self._clone(node, self.names, self.names))
                continue
            if not self.pair.perturbed.intersection(node.output):
                continue
            self._pruned(node)
            unit = units.get(first_output(node))
            if unit is not None:
                found += self._places(unit)
        return found

    def _constants(self) -> None:
        for name in sorted(self.pair.changed.intersection(self.pair.dense.main.initializers)):
            value = self.pair.value(name)
            tensor = self.graph.initializer.add()
            tensor.name = self.names[name]
            tensor.dims.extend(value.shape)
            tensor.data_type = self.pair.pruned.main.initializers[name].data_type
            write_tensor(tensor, value)

    def _clone(
        self, node: onnx.NodeProto, inputs: Mapping[str, str], outputs: Mapping[str, str]
    ) -> onnx.NodeProto:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = ""
        copy.input[:] = [inputs.get(name, name) for name in node.input]
        copy.output[:] = [outputs.get(name, name) for name in node.output]
        return copy

    def _pruned(self, node: onnx.NodeProto) -> None:
        """Write the pruned network's copy of a node, unless subgraphs make that impossible."""
        if has_subgraphs(node) or self.lost.intersection(node.input):
            self.lost.update(node.output)
            return
        outputs = {name: self.names.get(name, f"own__{name}") for name in node.output if name}
        self.graph.node.append(self._clone(node, self.names, outputs))

    def _places(self, unit: Unit) -> list[Place]:
        """Return what there is of a unit's outputs: one place if one rule holds for all."""
        last = unit.nodes[-1]
        every = tuple(name for name in last.output if name)
        head = self._head(unit, every)
        rest = tuple(name for name in every if name not in head.outputs)
        if not rest:
            return [head]
        reason = f"further outputs of {last.op_type} have no rule"
        return [head, Place(unit.label, head.inputs, rest, reason, None)]

    def _head(self, unit: Unit, every: tuple[str, ...]) -> Place:
        first, last = unit.nodes[0], unit.nodes[-1]
        if self.lost.intersection(every):
            reason = f"{first.op_type} has subgraphs"  # or follows such a node, whose reason counts
            return Place(unit.label, tuple(first.input), every, reason, None)
        if not last.output[0]:
            reason = f"outputs of {last.op_type} other than its first have no rule"
            return Place(unit.label, tuple(first.input), every, reason, None)
        outputs = every if last.op_type in SAME_OUTPUTS else (unit.output,)
        site = BoundSite(self.pair, unit, first, self.shapes, self.names, self.writer)
        known = not any(self._is_unknown(name) for name in (*first.input, *outputs))
        is_foreign = first.domain not in DEFAULT_DOMAINS  # which the rules refuse
        step: Step | str = f"{first.op_type} has values of no known shape"
        if known or is_foreign:
            step = respond(site)
        if isinstance(step, str):
            outputs = every
        return Place(unit.label, tuple(first.input), outputs, step, self._own(unit))

    def _is_unknown(self, name: str) -> bool:
        return bool(name) and name in self.pair.perturbed and name not in self.shapes

    def _own(self, unit: Unit) -> str | None:
        """Run the pruned unit on dense inputs; show the root of its summed squared error."""
        if not any(self.pair.changed.intersection(node.input) for node in unit.nodes):
            return None
        names = {name: self.names[name] for name in self.pair.changed}
        for node in unit.nodes:
            made = {name: f"own__{self.names.get(name, name)}" for name in node.output if name}
            self.graph.node.append(self._clone(node, names, made))
            names |= made
        return self._length(unit.output, names[unit.output])

    def gaps(self) -> list[Gap]:
        """Show how far the floating outputs are apart, where both networks make them."""
        found = []
        for output in self.pair.dense.main.graph.output:
            name = output.name
            if name not in self.pair.perturbed:
                continue
            if output.type.tensor_type.elem_type in FLOATS:
                change = None if name in self.lost else self._length(name, self.names[name])
                found.append(Gap(name, change, self._length(name, None)))
        return found

    def _length(self, dense: str, other: str | None) -> str:
        """Show the Euclidean norm of a value, or of its difference from another."""
        wide = [
            self.writer.node("Cast", [n], to=onnx.TensorProto.FLOAT) for n in (dense, other) if n
        ]
        value = wide[0] if other is None else self.writer.node("Sub", wide)
        if math.prod(self.shapes.get(dense, (1,))) == 0:
            value = self.writer.constant(_ZERO)
        else:
            value = self.writer.reduce("ReduceL2", value)
        self.writer.show(value, onnx.TensorProto.FLOAT, None)
        return value
