"""Write an ONNX model and its external data: all of it, or nothing.

Everything is written into a temporary folder beside the output, flushed to the disk and
verified there; only then do the files take their names (:mod:`onnx_lobs.graph.files.publish`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import PROTOBUF_LIMIT
from onnx_lobs.graph.files.location import ExternalRef, external_path, external_ref, is_external
from onnx_lobs.graph.files.native_path import said_in_utf8
from onnx_lobs.graph.files.outputs import PREFIX, check_targets, data_names
from onnx_lobs.graph.files.publish import publish, writing
from onnx_lobs.graph.files.tensors import raw_size
from onnx_lobs.graph.files.walk import iter_tensors
from onnx_lobs.memory.scratch import locked_folder

_CHUNK = 1 << 24  # bytes copied at a time
_ALIGNMENTS = (4096, 64, 1)  # a memory page, a cache line, packed

_Placed = tuple[ExternalRef, TensorProto]


def save_model(
    proto: ModelProto,
    path: Path,
    *,
    folder: Path | None,
    overwrite: bool,
    verify: Callable[[Path], None] | None = None,
) -> int:
    """Write a model, and its external data beside it, atomically.

    Tensors that are external, or were until :func:`~onnx_lobs.graph.files.tensors.write_tensor`
    gave them new values, go to ``<name>.data`` (those of a second original file to
    ``<name>.data1``, and so on) in the order and with the alignment that they had. Where a file
    of that name is there, which `overwrite` allows, they go to ``<name>.1.data``: see
    :mod:`onnx_lobs.graph.files.publish`.

    Parameters
    ----------
    proto
        Not modified.
    path
        The model file to be written.
    folder
        Folder of the model that was read; external data are copied from there.
    overwrite
        Whether existing outputs are replaced.
    verify
        Called with the finished file before it takes its name; what it raises is passed on.

    Returns
    -------
    int
        Bytes of all files written. Same model and same names, same bytes.

    Raises
    ------
    ConfigError
        The output is refused, as by :func:`~onnx_lobs.graph.files.outputs.check_output`; also
        when another run made it meanwhile.
    ModelError
        The model is too large for protobuf, or writing failed (disk full ...). After any
        exception the output's folder is as it was.

    Notes
    -----
    Memory: a copy of the model and its serialised form. External data are streamed.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    plan = _plan(copy)
    check_targets(path, len(plan), _sources(proto, folder), overwrite)
    names = data_names(path, len(plan), overwrite=overwrite)
    model = path.name if said_in_utf8(Path(path.name)) == path.name else "model.onnx"
    with ExitStack() as stack:
        with writing(path):
            new = stack.enter_context(locked_folder(path.parent, PREFIX))
            files = [new / os.fsdecode(name.encode()) for name in names]
            for name, file, tensors in zip(names, files, plan, strict=True):
                _write_data(file, name, tensors, folder)
            with _durable(new / model) as written:
                written.write(_serialise(copy, path))
        n_bytes = sum(file.stat().st_size for file in (new / model, *files))
        if verify is not None:
            verify(new / model)
        publish(new, model, path, [file.name for file in files], overwrite=overwrite)
    return n_bytes


def _sources(proto: ModelProto, folder: Path | None) -> set[Path]:
    """Return the data files that the model was read from."""
    return {
        external_path(tensor, folder)
        for tensor in iter_tensors(proto)
        if is_external(tensor) or (folder is not None and external_ref(tensor) is not None)
    }


def _plan(proto: ModelProto) -> list[list[_Placed]]:
    """Group the tensors that go to external files by their original file, sorted by offset."""
    groups: dict[Path, list[_Placed]] = {}
    for tensor in iter_tensors(proto):
        ref = external_ref(tensor)
        if ref is not None and (is_external(tensor) or tensor.HasField("raw_data")):
            groups.setdefault(Path(ref.location), []).append((ref, tensor))
    return [sorted(group, key=lambda pair: pair[0].offset) for group in groups.values()]


def _write_data(
    target: Path, location: str, tensors: Sequence[_Placed], folder: Path | None
) -> None:
    """Write one external data file, and point the tensors to their place in it.

    Tensors that shared one range of the original file share one again, unless rewritten.
    """
    step = next(s for s in _ALIGNMENTS if all(ref.offset % s == 0 for ref, _ in tensors))
    shared: dict[tuple[int, int], int] = {}
    with _durable(target) as file:
        for ref, tensor in tensors:
            key = (ref.offset, raw_size(tensor))
            offset = shared.get(key) if is_external(tensor) else None
            if offset is None:
                file.write(bytes(-file.tell() % step))
                offset = file.tell()
                if is_external(tensor):
                    _stream(external_path(tensor, folder), *key, file)
                    shared[key] = offset
                else:
                    file.write(tensor.raw_data)
            _point_to(tensor, location, offset, key[1])


def _stream(source: Path, offset: int, size: int, file: BinaryIO) -> None:
    """Append a range of one file to another, in chunks."""
    with source.open("rb") as data:
        data.seek(offset)
        left = size
        while left:
            chunk = data.read(min(left, _CHUNK))
            if not chunk:
                raise ModelError(
                    f"{source} ends {left} bytes before the tensor at byte {offset} does; the "
                    "data file is cut short or belongs to another model"
                )
            file.write(chunk)
            left -= len(chunk)


def _point_to(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Make a tensor external at the given place."""
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))


def _serialise(proto: ModelProto, path: Path) -> bytes:
    too_large = (
        f"{path} would need more than the {PROTOBUF_LIMIT} bytes protobuf can hold; save the "
        "input model with external data (onnx.save_model(..., save_as_external_data=True)) and "
        "start from that file"
    )
    try:
        data: bytes = proto.SerializeToString(deterministic=True)
    except EncodeError as error:
        raise ModelError(too_large) from error
    if len(data) > PROTOBUF_LIMIT:
        raise ModelError(too_large)
    return data


@contextmanager
def _durable(path: Path) -> Iterator[BinaryIO]:
    """Open a new file; at the end its bytes are on the disk."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
