"""Read an ONNX model and refuse, with the remedy, what cannot be worked on.

External data stay in their file; only their place and size are checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from onnx_lobs.errors import ModelError, near_file
from onnx_lobs.graph.files.location import external_path, external_ref, is_external
from onnx_lobs.graph.files.native_path import NativePath
from onnx_lobs.graph.files.recognise import (
    HEAD,
    other_kind,
    recognise,
    recognise_bytes,
    recognise_folder,
)
from onnx_lobs.graph.files.regular import regular_size, shown
from onnx_lobs.graph.files.source import ModelSource, as_source
from onnx_lobs.graph.files.sparse import make_dense
from onnx_lobs.graph.files.tensors import raw_size
from onnx_lobs.graph.files.utf8_names import make_names_text
from onnx_lobs.graph.files.walk import iter_tensors

OLDEST_OPSET = 7  # the first with today's broadcasting; older ones differ in Gemm, Add, Dropout
PROTOBUF_LIMIT = 2**31 - 1  # bytes; protobuf neither reads nor writes a larger message


@dataclass(frozen=True)
class LoadedModel:
    """A checked model.

    Attributes
    ----------
    proto
        Private copy; all initializers dense, external data still in their file.
    folder
        Folder that external locations are relative to; None for a model given by value.
    path
        File it was read from; None for a model given by value.
    sparse
        Names of the initializers that were sparse.
    """

    proto: ModelProto
    folder: Path | None
    path: Path | None
    sparse: tuple[str, ...] = ()


def load_model(source: ModelSource) -> LoadedModel:
    """Read a model, check it, and make its sparse initializers dense.

    Parameters
    ----------
    source
        Path of an ONNX file, its bytes, or a ModelProto. Not modified.

    Returns
    -------
    LoadedModel
        Its proto is valid for ``onnx.checker`` and its external data are all there.

    Raises
    ------
    ModelError
        The file is missing, unreadable, empty or no ONNX model; IR version, opset, external
        data or graph are not valid. One line, with the value, the limit and the remedy.

    Notes
    -----
    Memory: the file twice, without its external data; sparse initializers once more.
    """
    source = as_source(source)
    path = None if isinstance(source, (bytes, ModelProto)) else Path(source)
    name = "the model given" if path is None else str(path)
    folder = None if path is None else path.parent
    if isinstance(source, ModelProto):
        proto = ModelProto()
        proto.CopyFrom(source)
    elif isinstance(source, bytes):
        proto = parse_model(source, name)
    else:
        proto = parse_model(read_file(Path(source)), name)
    make_names_text(proto)
    _check_versions(proto, name)
    n_external = _check_external(proto, folder)
    _check_model(proto, name, path if n_external else None)
    return LoadedModel(proto, folder, path, tuple(make_dense(proto, folder)))


def parse_model(data: bytes, name: str) -> ModelProto:
    """Return the model in the bytes of an ONNX file.

    Parameters
    ----------
    data
        All bytes of the file.
    name
        What an error message calls the file.

    Raises
    ------
    ModelError
        The bytes are empty, no protobuf message, or a message without a graph.
    """
    if not data:
        raise ModelError(f"{name} is empty (0 bytes); copy or export the model again")
    if found := recognise_bytes(data[:HEAD]):
        raise ModelError(f"{name} is {found}")
    try:
        proto: ModelProto = ModelProto.FromString(data)
    except DecodeError as error:
        remedy = other_kind(name) or "copy or export the model again"
        raise ModelError(
            f"{name} is no ONNX model, or is cut short ({len(data)} bytes are no protobuf "
            f"message); {remedy}"
        ) from error
    if not proto.HasField("graph"):
        remedy = other_kind(name) or "export the model again"
        raise ModelError(f"{name} is no ONNX model: it has no graph; {remedy}")
    return proto


def read_file(path: Path) -> bytes:
    """Return the bytes of a file, or say why it is no model file."""
    try:
        if path.is_dir():
            raise ModelError(recognise_folder(path))
        found = recognise(path) if path.is_file() else None
        if found is not None:
            raise ModelError(f"{path} is {found}")
        size = regular_size(path)
        if size > PROTOBUF_LIMIT:
            raise ModelError(
                f"{path} has {size} bytes, protobuf reads at most {PROTOBUF_LIMIT}; export the "
                "model with external data"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        if str(path) == "-":
            raise ModelError(
                "- stands for stdin, from which no model is read; write it to a file, and give "
                "its path"
            ) from error
        raise ModelError(
            f"{path} does not exist; check the path of the model{near_file(path)}"
        ) from error
    except OSError as error:
        raise ModelError(
            f"{shown(path)} cannot be read ({error.strerror}); check the path and its permissions"
        ) from error


def _check_versions(proto: ModelProto, name: str) -> None:
    """Refuse a model without nodes or IR version, or with an opset that is not known."""
    if not proto.graph.node:
        raise ModelError(
            f"{name} is no ONNX model to prune: its graph has no nodes; export the model again"
        )
    if proto.ir_version < 1:
        raise ModelError(
            f"{name} has ir_version {proto.ir_version}, at least 1 is needed; export it again"
        )
    opsets = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if proto.ir_version < 3:  # before opset_import came
        opsets = [1]
    newest = onnx.defs.onnx_opset_version()
    for opset in opsets:
        if opset < OLDEST_OPSET:
            raise ModelError(
                f"{name} uses opset {opset}, at least {OLDEST_OPSET} is needed; convert it with "
                "onnx.version_converter.convert_version"
            )
        if opset > newest:
            raise ModelError(
                f"{name} uses opset {opset}, the installed onnx {onnx.__version__} knows up to "
                f"{newest}; install a newer onnx, or export with an older opset"
            )


def _check_external(proto: ModelProto, folder: Path | None) -> int:
    """Refuse external data that are not where the model says; return how many there are."""
    count = 0
    for tensor in iter_tensors(proto):
        if is_external(tensor):
            _check_one_external(tensor, folder)
            count += 1
    return count


def _check_one_external(tensor: TensorProto, folder: Path | None) -> None:
    path = external_path(tensor, folder)
    ref = external_ref(tensor)
    try:
        available = regular_size(path)
    except FileNotFoundError as error:
        raise ModelError(
            f"tensor {tensor.name!r} lies in {path}, which does not exist; put the data file "
            "beside the model"
        ) from error
    except OSError as error:
        raise ModelError(
            f"tensor {tensor.name!r} lies in {shown(path)}, which cannot be read "
            f"({error.strerror}); put the data file beside the model"
        ) from error
    offset = 0 if ref is None else ref.offset
    needed = raw_size(tensor)
    length = needed if ref is None or ref.length is None else ref.length
    if length != needed:
        raise ModelError(
            f"tensor {tensor.name!r} has {length} bytes of external data, its shape "
            f"{list(tensor.dims)} needs {needed}; export the model again"
        )
    if offset + length > available:
        raise ModelError(
            f"tensor {tensor.name!r} ends at byte {offset + length} of {path}, which has "
            f"{available}; the data file is cut short or belongs to another model"
        )


def _check_model(proto: ModelProto, name: str, path: Path | None) -> None:
    """Run onnx's checker: on the file where it has external data, else on the message."""
    place = NativePath()
    try:
        if any(_lacks_shape(value) for value in (*proto.graph.input, *proto.graph.output)):
            # of a rank that nobody knows: onnxruntime runs it, the checker wants a shape
            proto, path = _with_shapes(proto), None
        onnx.checker.check_model(proto.SerializeToString() if path is None else place.text(path))
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        UnicodeDecodeError,
    ) as error:
        reason = str(error).strip().partition("\n")[0]
        if isinstance(error, UnicodeDecodeError) or not reason:  # Python 3.10 leaves it empty
            reason = "what is wrong is said of a name that is not UTF-8"
        raise ModelError(
            f"{name} is not a valid ONNX model: {reason}; export the model again"
        ) from error
    except EncodeError as error:
        raise ModelError(
            f"{name} has more than the {PROTOBUF_LIMIT} bytes protobuf can hold; save it with "
            "external data and pass the path of the file"
        ) from error


def _lacks_shape(value: onnx.ValueInfoProto) -> bool:
    kind = value.type
    return kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape")


def _with_shapes(proto: ModelProto) -> ModelProto:
    """Return a copy to be checked: every input and output has a shape, no data are external."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    for value in (*copy.graph.input, *copy.graph.output):
        if _lacks_shape(value):
            value.type.tensor_type.shape.SetInParent()
    for tensor in iter_tensors(copy):
        if is_external(tensor):  # their place and size were looked at
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.dims[:] = [0]
    return copy
