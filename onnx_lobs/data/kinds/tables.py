"""Opens tables of numbers (csv, tsv): one row a sample, with or without a header and labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx_lobs.arrays import Array, FloatArray
from onnx_lobs.data.batches import Batches, stacked_batches
from onnx_lobs.data.fit import LABEL_NAMES
from onnx_lobs.data.inputs import InputSpec, kind
from onnx_lobs.data.kinds.class_folders import read_classes
from onnx_lobs.data.kinds.request import Place, Request
from onnx_lobs.errors import ConfigError, DataError, did_you_mean

SUFFIXES = (".csv", ".tsv")
READS = ("label_column", "classes")
_SHOWN = 20  # names of columns in a message
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class TextTable:
    """The cells of a file as texts; ``header`` is empty where it has none."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def open_table(place: Place, request: Request) -> Batches:
    """Return the rows of one table, or of several with the same columns, as samples.

    Columns go to the inputs of their names, or all in their order to the model's only input.

    Raises
    ------
    DataError
        When a cell is no number, rows differ in length, or columns do not fit the model.
    ConfigError
        When there is no such column for labels.
    """
    tables = [read_table(path) for path in place.files]
    first = tables[0]
    for table in tables:
        if (table.header, len(table.rows[0])) != (first.header, len(first.rows[0])):
            raise DataError(f"{table.path} has other columns than {first.path}; give one of them")
    label = _label_place(first, request)
    names = [name for place, name in enumerate(_names(first)) if place != label]
    cells = np.concatenate([_numbers(table, label) for table in tables])
    arrays = _arrays(cells, names, request.inputs, place.name)
    if label is not None:
        texts = [row[label] for table in tables for row in table.rows]
        arrays[_label_name(request)] = _labels(texts, request)
    return stacked_batches(
        arrays,
        request.inputs,
        name=place.name,
        samples=request.samples,
        batch_size=request.batch_size,
        seed=request.seed,
    )


def read_table(path: Path) -> TextTable:
    """Return the cells of a file. Its first row is a header where it holds no number at all.

    Raises
    ------
    DataError
        When it cannot be read, is empty, or its rows differ in length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise DataError(f"the table {path} cannot be read ({words}); save it as UTF-8") from error
    line = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=line.count)
    found = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows = [tuple(cell.strip() for cell in row) for row in found if any(map(str.strip, row))]
    header: tuple[str, ...] = ()
    if rows and not any(map(_is_number, rows[0])):
        header, rows = rows[0], rows[1:]
    if not rows:
        raise DataError(f"the table {path} holds no rows; give at least one")
    width = len(header or rows[0])
    bad = next((number for number, row in enumerate(rows) if len(row) != width), None)
    if bad is not None:
        raise DataError(
            f"row {bad + 1} of {path} has {len(rows[bad])} cells, and {width} are in the first; "
            "correct it"
        )
    return TextTable(path, header, tuple(rows))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _names(table: TextTable) -> tuple[str, ...]:
    return table.header or tuple(map(str, range(len(table.rows[0]))))


def _label_place(table: TextTable, request: Request) -> int | None:
    """Return the column of the labels, or None."""
    names, wanted = _names(table), request.options.label_column
    if wanted is None:
        inputs = {spec.name for spec in request.inputs}
        found = [n for n in LABEL_NAMES if n in names and n not in inputs]
        return names.index(found[0]) if found else None
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    raise ConfigError(
        f"label_column is {wanted!r}, which {table.path} does not have; "
        f"{did_you_mean(wanted, names)}its columns are {', '.join(names[:_SHOWN])}"
    )


def _numbers(table: TextTable, label: int | None) -> FloatArray:
    """Return the cells of all columns but the labels' as numbers."""
    rows = []
    for number, row in enumerate(table.rows):
        cells = [cell for place, cell in enumerate(row) if place != label]
        bad = next((cell for cell in cells if not _is_number(cell)), None)
        if bad is not None:
            raise DataError(
                f"row {number + 1} of {table.path} holds {bad!r}, which is no number; leave such "
                "columns out, or name the one of the classes: --label-column"
            )
        rows.append([float(cell) for cell in cells])
    return np.asarray(rows, np.float64)


def _arrays(
    cells: FloatArray, names: Sequence[str], inputs: Sequence[InputSpec], where: str
) -> dict[str, Array]:
    """Return the array of each input."""
    places = {name: place for place, name in enumerate(names)}
    if all(spec.name in places for spec in inputs):
        return {spec.name: _column(cells[:, places[spec.name]], spec) for spec in inputs}
    if len(inputs) == 1:
        _check_width(names, inputs[0], where)
        return {inputs[0].name: _typed(cells, inputs[0])}
    missing = next(spec.name for spec in inputs if spec.name not in places)
    raise DataError(
        f"{where} has no column {missing!r}; the model takes "
        f"{', '.join(repr(spec.name) for spec in inputs)}, so give it a header with these names"
    )


def _check_width(names: Sequence[str], spec: InputSpec, where: str) -> None:
    """Refuse a table with more or fewer columns than the model's only input takes."""
    wanted = spec.shape[1] if spec.shape is not None and len(spec.shape) == 2 else None
    if not isinstance(wanted, int) or wanted == len(names):
        return
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    if len(names) == wanted + 1:
        remedy = "if one of them is the class, name it with --label-column, else take one out"
    else:
        remedy = "give the columns that the model was trained on, in their order"
    raise DataError(
        f"{where} has {len(names)} columns ({listed}), and input {spec.name!r} takes {wanted}; "
        f"{remedy}"
    )


def _column(values: FloatArray, spec: InputSpec) -> Array:
    rank = 1 if spec.shape is None else len(spec.shape)
    return _typed(values.reshape(-1, *[1] * (rank - 1)), spec)


def _typed(values: FloatArray, spec: InputSpec) -> Array:
    """Return whole numbers as integers where the input takes such."""
    is_whole = kind(spec.dtype) in ("int", "bool") and np.array_equal(values, np.floor(values))
    return values.astype(np.int64) if is_whole else values


def _label_name(request: Request) -> str:
    taken = {spec.name for spec in request.inputs}
    return next(name for name in LABEL_NAMES if name not in taken)


def _labels(texts: Sequence[str], request: Request) -> Array:
    """Return class indices: numbers as they are, names by the file that says which is which."""
    if request.options.classes is None:
        if all(map(_is_number, texts)):
            return np.asarray([int(float(text)) for text in texts], np.int64)
        names = sorted(set(texts))
        if len(names) != request.n_classes:
            raise DataError(
                f"the labels are {len(names)} names such as {names[0]!r}, and the model has "
                f"{request.n_classes or 'an unknown number of'} classes; say with --classes FILE "
                "which is which"
            )
        return np.asarray([names.index(text) for text in texts], np.int64)
    known = read_classes(Path(request.options.classes))
    missing = next((text for text in texts if text not in known), None)
    if missing is not None:
        raise DataError(
            f"the label {missing!r} is no class of {request.options.classes}; "
            f"{did_you_mean(missing, known)}add it there"
        )
    return np.asarray([known[text][0] for text in texts], np.int64)
