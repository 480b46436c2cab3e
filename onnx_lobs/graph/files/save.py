"""Write an ONNX model and its external data: all of it, or nothing.

Everything is written into a temporary folder beside the output, flushed to the disk and
verified there; only then do the files take their names, the model last.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from onnx_lobs.errors import ConfigError, ModelError
from onnx_lobs.graph.files.load import PROTOBUF_LIMIT, parse_model, read_file
from onnx_lobs.graph.files.tensors import (
    ExternalRef,
    external_path,
    external_ref,
    is_external,
    raw_size,
)
from onnx_lobs.graph.files.walk import iter_tensors
from onnx_lobs.memory.scratch import locked_folder, remove_dead

_CHUNK = 1 << 24  # bytes copied at a time
_ALIGNMENTS = (4096, 64, 1)  # a memory page, a cache line, packed
_PREFIX = ".onnx-lobs-"  # of temporary folders

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
    ``<name>.data1``, and so on) in the order and with the alignment that they had.

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
        Bytes of all files written. Same model, same bytes.

    Raises
    ------
    ConfigError
        The output is refused, as by :func:`check_output`.
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
    names = [_data_name(path, number) for number in range(len(plan))]
    _check_targets(
        [path, *(path.parent / name for name in names)], _sources(proto, folder), overwrite
    )
    with locked_folder(path.parent, _PREFIX) as new:
        with _writing(path):
            for name, tensors in zip(names, plan, strict=True):
                _write_data(new / name, tensors, folder)
            with _durable(new / path.name) as file:
                file.write(_serialise(copy, path))
        n_bytes = sum((new / name).stat().st_size for name in (path.name, *names))
        if verify is not None:
            verify(new / path.name)
        with _writing(path):
            _publish(new, path, names)
    return n_bytes


def check_output(path: Path, *, inputs: Sequence[Path], overwrite: bool) -> None:
    """Refuse an output that :func:`save_model` would refuse, before any work is done.

    Parameters
    ----------
    path
        The model file to be written.
    inputs
        The files that are read, as :func:`model_files` lists them: each after the first is
        an external data file, and the output gets as many.
    overwrite
        Whether existing outputs may be replaced.

    Raises
    ------
    ConfigError
        The folder does not exist or is not writable; the name is too long, that of an
        input, of something that is no regular file, or of an existing file.

    Notes
    -----
    Makes a nameless file beside the output: nothing else proves the folder writable. What a
    run that was killed while it wrote left there is removed.
    """
    data = [path.parent / _data_name(path, number) for number in range(len(inputs) - 1)]
    _check_targets([path, *data], inputs, overwrite)


def model_files(path: Path) -> list[Path]:
    """Return the model file, then its external data files in order of first use.

    Raises
    ------
    ModelError
        The file cannot be read, is no ONNX model, or names data outside its folder.
    """
    proto = parse_model(read_file(path), str(path))
    external = (external_path(t, path.parent) for t in iter_tensors(proto) if is_external(t))
    return list(dict.fromkeys((path, *external)))


def _data_name(path: Path, number: int) -> str:
    return f"{path.name}.data{number or ''}"


def _sources(proto: ModelProto, folder: Path | None) -> set[Path]:
    """Return the data files that the model was read from."""
    return {
        external_path(tensor, folder)
        for tensor in iter_tensors(proto)
        if is_external(tensor) or (folder is not None and external_ref(tensor) is not None)
    }


def _check_targets(targets: Sequence[Path], inputs: Collection[Path], overwrite: bool) -> None:
    folder = targets[0].parent
    if not stat.S_ISDIR(_mode(folder)):
        raise ConfigError(f"the output folder {folder} does not exist; create it first")
    for target in targets:
        mode = _mode(target)
        for source in inputs:
            linked = mode and source.exists() and target.samefile(source)
            if linked or target.resolve() == source.resolve():
                raise ConfigError(
                    f"the output {target} would replace the input {source}; choose another name"
                )
        if mode and not stat.S_ISREG(mode):
            raise ConfigError(f"the output {target} is no regular file; choose another name")
        if mode and not overwrite:
            raise ConfigError(
                f"the output {target} exists; allow it to be replaced with --overwrite "
                "(overwrite=True), or choose another name"
            )
    try:
        remove_dead(folder, _PREFIX)
        tempfile.TemporaryFile(dir=folder).close()  # which leaves no name, should we be killed
    except OSError as error:
        raise ConfigError(
            f"the output folder {folder} is not writable ({error.strerror}); choose another one"
        ) from error


def _mode(path: Path) -> int:
    """Return what a path is, 0 where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise ConfigError(
            f"the output {path} is not possible ({error.strerror}); choose a shorter name or "
            "another folder"
        ) from error


def _plan(proto: ModelProto) -> list[list[_Placed]]:
    """Group the tensors that go to external files by their original file, sorted by offset."""
    groups: dict[Path, list[_Placed]] = {}
    for tensor in iter_tensors(proto):
        ref = external_ref(tensor)
        if ref is not None and (is_external(tensor) or tensor.HasField("raw_data")):
            groups.setdefault(Path(ref.location), []).append((ref, tensor))
    return [sorted(group, key=lambda pair: pair[0].offset) for group in groups.values()]


def _write_data(target: Path, tensors: Sequence[_Placed], folder: Path | None) -> None:
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
            _point_to(tensor, target.name, offset, key[1])


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
def _writing(path: Path) -> Iterator[None]:
    """Say which model could not be written when the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written ({error}); free disk space or choose another folder"
        ) from error


@contextmanager
def _durable(path: Path) -> Iterator[BinaryIO]:
    """Open a new file; at the end its bytes are on the disk."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _publish(new: Path, path: Path, names: Sequence[str]) -> None:
    """Move the data files, then the model, from the folder `new` to where `path` is.

    What the data files replace is kept until the model has moved, and put back if it has not.
    """
    old = Path(tempfile.mkdtemp(dir=new))
    try:
        for name in names:
            if (path.parent / name).exists():
                os.replace(path.parent / name, old / name)
            os.replace(new / name, path.parent / name)
        os.replace(new / path.name, path)
    finally:
        if (new / path.name).exists():
            for name in names:
                if (old / name).exists():
                    os.replace(old / name, path.parent / name)
                elif not (new / name).exists():
                    (path.parent / name).unlink()
    if os.name != "nt":  # Windows cannot open a folder
        descriptor = os.open(path.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
