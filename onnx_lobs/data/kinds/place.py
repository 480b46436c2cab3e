"""Lists the files that a path, a pattern or a list of paths means, in a fixed order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from onnx_lobs.data.files import numbered
from onnx_lobs.data.kinds.request import Place
from onnx_lobs.errors import DataError


def find_place(source: object) -> Place | None:
    """Return the files that a source means; None: it is no path and no list of paths.

    A folder is named without its files, see :func:`files_inside`. A path that does not exist and
    is no pattern means itself.

    """
    if isinstance(source, list | tuple) and source:
        if all(isinstance(one, (str, os.PathLike)) for one in source):
            return _listed([Path(one) for one in source])
        return None
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = Path(source)
    if os.path.isdir(path):  # no error where the name is too long
        return Place(path.name, path, (), is_folder=True)
    if not os.path.exists(path) and (found := sorted(glob.glob(str(path), recursive=True))):
        files = [file for one in found for file in _expanded(Path(one))]
        if files:
            return Place(path.name, _common(files), tuple(files))
    return Place(path.name, path, (path,))


def _listed(paths: Sequence[Path]) -> Place:
    return Place(f"{len(paths)} files", _common(paths), tuple(paths))


def _expanded(path: Path) -> list[Path]:
    """Return a file, or those inside a folder."""
    return list(files_inside(path)) if path.is_dir() else [path]


def _common(paths: Sequence[Path]) -> Path:
    """Return the folder that holds all files, or all of the folders that hold them."""
    return Path(os.path.commonpath([os.path.abspath(path.parent) for path in paths]))


def files_inside(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those in it, by number and name, but for hidden ones.

    Raises
    ------
    DataError
        When a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(
            f"the folder {error.filename} cannot be read ({error.strerror}); check its permissions"
        ) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = map(str, numbered(Path(name) for name in folders if name[0] != "."))
        own = numbered(Path(name) for name in names if name[0] != ".")
        yield from (Path(parent) / path for path in own)
