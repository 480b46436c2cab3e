"""Gives finished files their names, so that a kill at any moment leaves a whole model there.

Names are given one by one, and a model calls its data by name. Were new data put in place of old
ones, a kill before the model followed would leave an old model with new data. So new data get
names that nothing has: ``<name>.data``, or where something has that, ``<name>.1.data`` and so on.
Then the model takes its name, in one step; until then the old one is there with its data. Only
then the data that the old one called are removed, if they are named after it.

=========================  ================  ===========================
killed after               the model there   what no model calls is left
=========================  ================  ===========================
the data have their names  the old one       the new data
the model has its name     the new one       the old data
the old data are removed   the new one       nothing
=========================  ================  ===========================

What is left stays: a model that was renamed or copied may call it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onnx_lobs.errors import ConfigError, ModelError
from onnx_lobs.graph.files.load import parse_model, read_file
from onnx_lobs.graph.files.location import external_ref, is_external
from onnx_lobs.graph.files.outputs import name_as_text
from onnx_lobs.graph.files.walk import iter_tensors
from onnx_lobs.memory.folder_lock import alone_in
from onnx_lobs.memory.scratch import undisturbed


def publish(new: Path, model: str, path: Path, data: Sequence[str], *, overwrite: bool) -> None:
    """Move a model and its data files to their place.

    Parameters
    ----------
    new
        Folder of the finished files, on the file system of `path`.
    model
        Name of the model file there.
    path
        Where the model goes; the data go beside it.
    data
        Names of the data files, there and here.
    overwrite
        Whether the model replaces what has its name, with the data of that name which it calls.

    Raises
    ------
    ConfigError
        An output came into being since it was checked.
    ModelError
        The system refuses. The message says whether the model is there.
    """
    with writing(path), undisturbed(), alone_in(path.parent):
        former = set(_own_data(path)) - set(data) if overwrite else ()
        _place(new, model, path, data, overwrite=overwrite)
        with _placed(path):
            _sync(path.parent)  # before anything that the old model called is removed
            for name in former:
                (path.parent / name).unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which model could not be written when the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written ({error}); free disk space or choose another folder"
        ) from error


@contextmanager
def _placed(path: Path) -> Iterator[None]:
    """Say that the model is there when the operating system refuses what comes after."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{path} is written and whole, but the system refused to finish ({error}); check the "
            "disk, and for data of the model that was replaced"
        ) from error


def _place(new: Path, model: str, path: Path, data: Sequence[str], *, overwrite: bool) -> None:
    """Give the data their names, then the model; or nothing."""
    made: list[Path] = []
    is_done = False
    try:
        for name in data:
            _move_to_free(new / name, path.parent / name)
            made.append(path.parent / name)
        if overwrite:
            os.replace(new / model, path)
        else:
            _move_to_free(new / model, path)
        is_done = True
    except FileExistsError as error:
        raise ConfigError(
            f"{error.filename2} came into being while this run worked; allow it to be replaced "
            "with --overwrite (overwrite=True), or choose another name"
        ) from error
    finally:
        if not is_done:
            for target in made:
                target.unlink()


def _move_to_free(source: Path, target: Path) -> None:
    """Move a file to a name that nothing has; other runs wait.

    No hard link: onnx reads no data that have two names, as they have for a moment with it.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "exists", str(source), None, str(target))
    os.rename(source, target)


def _own_data(path: Path) -> list[str]:
    """Return the data files that the model at `path` calls, and that are named after it."""
    pattern = re.compile(re.escape(name_as_text(path)) + r"(\.\d+)?\.data\d*")
    present = {os.fsencode(name).decode("utf-8", "replace") for name in os.listdir(path.parent)}
    if not any(map(pattern.fullmatch, present)):  # most often; the old model need not be read
        return []
    try:
        proto = parse_model(read_file(path), str(path))
        refs = [external_ref(tensor) for tensor in iter_tensors(proto) if is_external(tensor)]
    except ModelError:  # it is none, so it calls nothing
        return []
    called = {ref.location for ref in refs if ref is not None and pattern.fullmatch(ref.location)}
    return [os.fsdecode(location.encode()) for location in called]


def _sync(folder: Path) -> None:
    """Return when the names in a folder are on the disk."""
    if os.name == "nt":  # which cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
