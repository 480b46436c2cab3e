"""Refuses outputs that cannot be written, or would replace what a run reads or writes besides."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.load import parse_model, read_file
from onnx_lobs.graph.files.location import external_path, is_external
from onnx_lobs.graph.files.native_path import said_in_utf8
from onnx_lobs.graph.files.regular import check_kind, mode_of, shown
from onnx_lobs.graph.files.walk import iter_tensors
from onnx_lobs.memory.scratch import remove_dead

PREFIX = ".onnx-lobs-"  # of temporary folders beside an output


def check_output(path: Path, *, inputs: Sequence[Path], overwrite: bool) -> None:
    """Refuse an output that :func:`~onnx_lobs.graph.files.save.save_model` would refuse.

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
    check_targets(path, len(inputs) - 1, inputs, overwrite)


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


def name_as_text(path: Path) -> str:
    """Return a file's name as a model may call it: in UTF-8, whatever the file system has."""
    return said_in_utf8(Path(path.name)) or os.fsencode(path.name).decode("utf-8", "replace")


def data_names(path: Path, count: int, *, overwrite: bool = False) -> list[str]:
    """Return the names by which a model is to call its data files: text, in any locale.

    With `overwrite` they are names that nothing has.
    """
    name = name_as_text(path)
    for version in itertools.count():
        middle = f".{version}" if version else ""
        names = [f"{name}{middle}.data{number or ''}" for number in range(count)]
        if not overwrite or not any(map(os.path.lexists, paths_beside(path, names))):
            break
    return names


def paths_beside(path: Path, names: Iterable[str]) -> list[Path]:
    """Return where the data files of a model lie that have these names."""
    return [path.parent / os.fsdecode(name.encode()) for name in names]


def check_targets(path: Path, count: int, inputs: Collection[Path], overwrite: bool) -> None:
    """Refuse a model file with so many data files, as :func:`check_output` does.

    Raises
    ------
    ConfigError
        As there.
    """
    targets = [path, *paths_beside(path, data_names(path, count))]
    folder = path.parent
    if not os.path.isdir(folder):
        raise ConfigError(f"the output folder {shown(folder)} does not exist; create it first")
    for target in targets:
        try:
            mode = mode_of(target)
        except OSError as error:
            raise ConfigError(
                f"the output {shown(target)} is not possible ({error.strerror}); choose a shorter "
                "name or another folder"
            ) from error
        for source in inputs:
            if _place(target) == _place(source):
                raise ConfigError(
                    f"the output {target} would replace the input {source}; choose another name"
                )
        check_kind(target, f"the output {target}")
        if (mode or target.is_symlink()) and not overwrite:
            raise ConfigError(
                f"the output {target} exists; allow it to be replaced with --overwrite "
                "(overwrite=True), or choose another name"
            )
    try:
        remove_dead(folder, PREFIX)
        tempfile.TemporaryFile(dir=folder).close()  # which leaves no name, should we be killed
    except OSError as error:
        raise ConfigError(
            f"the output folder {folder} is not writable ({error.strerror}); choose another one"
        ) from error


def check_apart(writes: Mapping[str, Path], reads: Mapping[str, Iterable[Path]]) -> None:
    """Refuse names that lead to one place, by whatever links, when it is not only read.

    Parameters
    ----------
    writes
        What is written, by how messages call it: files, and folders for many files.
    reads
        What is read, likewise.

    Raises
    ------
    ConfigError
        The message says which two are one.
    """
    known: dict[object, tuple[str, Path]] = {}
    for what, paths in reads.items():
        known |= {_place(path): (what, path) for path in paths}
    for what, path in writes.items():
        place = _place(path)
        if place in known:
            other, there = known[place]
            raise ConfigError(
                f"{what} {shown(path)} is {other} {shown(there)} too, which it would replace; "
                "choose another name"
            )
        known[place] = what, path


def _place(path: Path) -> object:
    """Return what is the same for all names of one file or folder, which need not exist yet."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):  # there is nothing, or it is no path: whoever opens it says so
        return _end(path)
    return info.st_dev, info.st_ino


def _end(path: Path) -> str:
    """Return where a path leads by all links on the way."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)
