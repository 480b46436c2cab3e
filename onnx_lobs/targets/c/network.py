"""Reads an ONNX model as a short list of nodes with fixed shapes, for one sample at a time.

onnxruntime's own basic optimisations fold constants and normalisations and take out what does
nothing, in a scratch folder; what they write holds standard operators only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import TensorProto

from onnx_lobs.arrays import Array
from onnx_lobs.data.inputs import check_named, input_specs
from onnx_lobs.errors import ConfigError, ModelError
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.files.location import is_external
from onnx_lobs.graph.files.tensors import read_tensor, write_tensor
from onnx_lobs.graph.files.walk import iter_tensors
from onnx_lobs.graph.inferred_shapes import declared_shape
from onnx_lobs.graph.model import Model, opset_of, subgraphs
from onnx_lobs.graph.run.session import CRASHING, ORT_ERRORS, one_line

Shape = tuple[int, ...]
_MOST_EXTERNAL = 2**31 - 2**20  # a model in one message has at most 2 GB, the graph included
RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Network:
    """A model for one sample, all shapes known.

    Parameters
    ----------
    proto
        The simplified model; it runs in onnxruntime.
    constants
        By name.
    shapes
        Of every other value.
    readers
        The nodes that read each value, a node as often as it does.
    """

    proto: onnx.ModelProto
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    readers: Mapping[str, Sequence[onnx.NodeProto]]

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """The nodes in the order in which they run."""
        return list(self.proto.graph.node)

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return opset_of(self.proto)

    @property
    def element_types(self) -> dict[str, int]:
        """ONNX's numbers of the element types of all values but constants."""
        graph = self.proto.graph
        values = (*graph.input, *graph.output, *graph.value_info)
        return {value.name: value.type.tensor_type.elem_type for value in values}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(spec.name for spec in input_specs(self.proto))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(value.name for value in self.proto.graph.output)


def read_network(loaded: LoadedModel, input_shapes: Mapping[str, Shape]) -> Network:
    """Return the network of a model for one sample.

    Parameters
    ----------
    loaded
        The model. Not modified.
    input_shapes
        Whole shapes of inputs whose axes are open beyond the batch; 0 or 1 for the batch.

    Raises
    ------
    ConfigError
        An axis is open and no shape was given.
    ModelError
        onnxruntime cannot simplify the model, a shape stays unknown, a node has a graph of its
        own, or the weights take more than 2 GB.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(loaded.proto)
    _fix_inputs(fixed, input_shapes)
    _tell_apart(fixed)
    _hold_external(fixed, loaded.folder)
    simple = _simplified(fixed)
    if _is_foldable(simple):  # functions were inlined behind the folding of constants
        simple = _simplified(simple)
    _name_vectors(simple)
    inferred = _inferred(simple)
    index = Model(inferred, None)
    constants = {name: index.value(one) for name, one in index.main.initializers.items()}
    readers = {name: [node for _, node in read] for name, read in index.main.readers.items()}
    return Network(inferred, constants, _shapes(inferred.graph), readers)


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Return the shapes of all values but constants."""
    found = {v.name: declared_shape(v) for v in (*graph.input, *graph.output, *graph.value_info)}
    known = {
        name: tuple(size for size in shape if size is not None)
        for name, shape in found.items()
        if shape is not None and None not in shape
    }
    for node in graph.node:
        if any(True for _ in subgraphs(node)):
            raise ModelError(
                f"{node.op_type} {node.name!r} has no C code: it runs a graph of its own; export "
                "the model without loops and branches, or deploy it with a runtime (--target "
                "onnxruntime)"
            )
        for name in filter(None, node.output):
            if name not in known:
                raise ModelError(
                    f"the shape of {name!r}, an output of {node.op_type} {node.name!r}, is not "
                    "known before it runs; C code needs fixed shapes: give --input-shape, or "
                    "export the model with fixed sizes"
                )
    return known


def _fix_inputs(model: onnx.ModelProto, given: Mapping[str, Shape]) -> None:
    """Give every input a fixed shape, in place: one sample, and what was given."""
    specs = input_specs(model)
    check_named(given, specs)
    names = {spec.name for spec in specs}
    for value in (value for value in model.graph.input if value.name in names):
        dims = value.type.tensor_type.shape.dim
        if value.name in given:
            sizes = [max(size, 1) for size in given[value.name]]
            if not value.type.tensor_type.HasField("shape"):
                dims.extend(onnx.TensorShapeProto.Dimension() for _ in sizes)
        else:
            sizes = [dim.dim_value for dim in dims]
            sizes[:1] = [sizes[0] if sizes and sizes[0] > 0 else 1][: len(sizes)]
        if len(sizes) != len(dims) or any(size < 1 for size in sizes):
            shown = "x".join(str(d.dim_value) if d.dim_value > 0 else "?" for d in dims)
            raise ConfigError(
                f"input {value.name!r} has the shape {shown or 'unknown'}; C code needs fixed "
                f"sizes: --input-shape {value.name}:1x3x224x224, say"
            )
        for dim, size in zip(dims, sizes, strict=True):
            dim.Clear()
            dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:  # an open batch here would stay open
        value.type.tensor_type.ClearField("shape")


def _tell_apart(model: onnx.ModelProto) -> None:
    """Give nodes of one name names of their own, in place: onnxruntime writes no others."""
    seen: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if node.name in seen:
            node.name = f"{node.name} ({number})"
        seen.add(node.name)


def _is_foldable(model: onnx.ModelProto) -> bool:
    """Whether a node reads nothing but constants."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return any(
        node.input and all(name in constants for name in node.input if name)
        for node in model.graph.node
    )


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the shapes of all values."""
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            f"the shapes of the model cannot be found: {one_line(error)}; export it again, or "
            "deploy it with a runtime (--target onnxruntime)"
        ) from error


def _name_vectors(model: onnx.ModelProto) -> None:
    """Give all vectors of recurrent nodes a name, in place, so that their range can be found."""
    for node in model.graph.node:
        if node.op_type in RECURRENT and not (node.output and node.output[0]):
            node.output[:] = [f"{node.name or node.output[1]} (all)", *node.output[1:]]


def _hold_external(model: onnx.ModelProto, folder: Path | None) -> None:
    """Read external data into the model, in place."""
    size = external_bytes(model)
    if size > _MOST_EXTERNAL:
        raise ModelError(
            f"the weights take {size:,} bytes, at most {_MOST_EXTERNAL:,} can become C code; "
            "deploy the model with a runtime (--target onnxruntime)"
        )
    for tensor in iter_tensors(model):
        if is_external(tensor):
            array = read_tensor(tensor, folder)
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
            write_tensor(tensor, array)


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model as onnxruntime writes it after its basic optimisations."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as scratch:
        options.optimized_model_filepath = str(Path(scratch) / "simple.onnx")
        try:
            ort.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=CRASHING,
            )
        except ORT_ERRORS as error:
            raise ModelError(f"onnxruntime cannot load the model: {one_line(error)}") from error
        return onnx.load(options.optimized_model_filepath)
