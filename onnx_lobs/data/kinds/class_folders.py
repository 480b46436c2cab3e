"""Reads labels from the folders that files lie in: ``class/name.jpg``."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_lobs.arrays import IntArray
from onnx_lobs.data.kinds.request import LabelNeed, Place, Request
from onnx_lobs.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True, eq=False)
class FoundLabels:
    """Labels of files, one each, or None; and what the user had better know."""

    labels: IntArray | None
    notes: tuple[str, ...] = ()


def folder_labels(place: Place, request: Request) -> FoundLabels:
    """Return the class of each file of a place, by the first folder below its root.

    Parameters
    ----------
    place
        The files.
    request
        Its ``classes`` is a file that says which class a name is. Without, folders named by
        numbers are these classes, and as many folders as the model has classes are these in
        alphabetical order. ``labels`` says whether labels are needed.

    Raises
    ------
    DataError
        When labels are needed and not known, or a folder is not in the file.
    ConfigError
        When the file cannot be understood.
    """
    names = [_first_folder(path, place.root) for path in place.files]
    if request.labels is not LabelNeed.NEEDED and all(name is None for name in names):
        return FoundLabels(None)
    if None in names:
        words = f"{place.files[names.index(None)]} lies in no folder of a class"
        return _without(words, place, request)
    folders = sorted({name for name in names if name is not None})
    index = _indices(folders, request)
    if index is None:
        known = "an unknown number of" if request.n_classes is None else str(request.n_classes)
        words = f"there are {len(folders)} folders, and the model has {known} classes"
        return _without(words, place, request)
    return FoundLabels(np.array([index[name] for name in names if name is not None], np.int64))


def _first_folder(path: Path, root: Path) -> str | None:
    parts = Path(os.path.relpath(path, root)).parts
    return parts[0] if len(parts) > 1 else None


def _without(words: str, place: Place, request: Request) -> FoundLabels:
    message = (
        f"{place.name} has no labels: {words}; put each class into a folder of its own, and say "
        "with --classes FILE which is which (one name a line in the order of the outputs)"
    )
    if request.labels is LabelNeed.NEEDED:
        raise DataError(message)
    return FoundLabels(None, (message,) if request.labels is LabelNeed.WELCOME else ())


def _indices(folders: Sequence[str], request: Request) -> Mapping[str, int] | None:
    if request.options.classes is not None:
        known = read_classes(Path(request.options.classes))
        for folder in folders:
            _check_known(folder, known, request.options.classes)
        return {folder: known[folder][0] for folder in folders}
    if all(folder.isdecimal() for folder in folders):
        return {folder: int(folder) for folder in folders}
    if len(folders) == request.n_classes:
        return {folder: place for place, folder in enumerate(folders)}
    return None


def _check_known(folder: str, known: Mapping[str, Sequence[int]], file: str) -> None:
    if folder not in known:
        raise DataError(
            f"the folder {folder!r} is no class of {file}; {did_you_mean(folder, known)}rename it, "
            "or add its name there"
        )
    if len(known[folder]) > 1:
        raise DataError(
            f"{file} gives {folder!r} to the classes {known[folder][0]} and {known[folder][1]}; "
            "name folders by numbers instead"
        )


def read_classes(path: Path) -> dict[str, list[int]]:
    """Return the classes of each name: as a rule one.

    A text of one name a line, the first class 0, where the first word alone is a name too; csv of
    ``name,index``; or JSON: a list of names, ``{name: index}``, or ``{index: name or names}``.

    Raises
    ------
    ConfigError
        When the file cannot be read or is none of these.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        pairs = _of_json(json.loads(text)) if path.suffix.lower() == ".json" else _of_lines(text)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"classes {str(path)!r} cannot be read ({words}); write one name a line, name,index as "
            "csv, or JSON {name: index}"
        ) from error
    known: dict[str, list[int]] = {}
    for name, index in pairs:
        places = known.setdefault(name.strip(), [])
        if index not in places:
            places.append(index)
    return known


def _of_json(content: Any) -> Iterable[tuple[str, int]]:
    if isinstance(content, list):
        return [(str(name), place) for place, name in enumerate(content)]
    pairs: list[tuple[str, int]] = []
    for key, value in content.items():
        if isinstance(value, int):
            pairs.append((key, value))
        else:
            names = value if isinstance(value, list) else [value]
            pairs += [(str(name), int(key)) for name in names]
    return pairs


def _of_lines(text: str) -> Iterable[tuple[str, int]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    rows = [[part.strip() for part in row] for row in csv.reader(lines)]
    if len(rows) > 1 and not rows[0][-1].isdecimal() and all(r[-1].isdecimal() for r in rows[1:]):
        rows = rows[1:] if len(rows[0]) == len(rows[1]) == 2 else rows  # a header
    if all(len(row) == 2 and row[1].isdecimal() for row in rows):
        return [(name, int(index)) for name, index in rows]
    pairs = [(line, place) for place, line in enumerate(lines)]
    firsts = [(line.split()[0].rstrip(","), place) for place, line in enumerate(lines)]
    unique = {name for name, _ in firsts}
    return [*pairs, *firsts] if len(unique) == len(lines) else pairs
