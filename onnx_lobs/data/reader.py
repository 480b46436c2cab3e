"""From whatever the user has, files, arrays, iterables or readers, to re-iterable batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches, Item, given_batches, stacked_batches
from onnx_lobs.data.files import (
    ARRAY_SUFFIXES,
    list_array_files,
    list_test_sets,
    read_arrays,
    read_test_set,
)
from onnx_lobs.data.fit import as_array
from onnx_lobs.data.inputs import InputSpec, input_specs
from onnx_lobs.errors import ConfigError, DataError

__all__ = ["Batches", "InputSpec", "input_specs", "open_data"]


def open_data(
    source: object,
    inputs: Sequence[InputSpec],
    *,
    samples: int | None,
    batch_size: int,
    seed: int = 0,
) -> Batches:
    """Open calibration data of any kind and check all that will be used of it.

    Parameters
    ----------
    source
        Stacked samples, which are cut along axis 0: the path of an npz or npy file, a
        ``{name: array}`` mapping, or one array for a model with one input. Or batches,
        which are taken as they are: a folder of npz or npy files, a ``test_data_set_*``
        folder or one that contains such, any iterable of ``{name: array}``, or any object
        with ``get_next()`` such as onnxruntime's CalibrationDataReader (rewound first if
        it can be). Arrays are not modified; iterables that are no sequences are copied.
    inputs
        The model's inputs, from :func:`input_specs`.
    samples
        Largest number of samples used; None uses all. Of a stack a seeded random subset is
        taken, of batches the first ones.
    batch_size
        Samples per batch cut from a stack; a first axis that the model fixes wins.
    seed
        Seeds the subset.

    Returns
    -------
    Batches
        Arrays in the model's dtypes, the same on every iteration. Integers for a float
        input become ``array * <name>.scale + <name>.offset``, a batch at a time.

    Raises
    ------
    DataError
        When the data are missing, damaged, empty or do not fit the inputs, or hold NaN or
        infinity.
    ConfigError
        When `samples` or `batch_size` is below 1.

    Notes
    -----
    Everything used is read and converted once here to be checked. A stack is held as it
    is stored; files of a folder are read again whenever they are needed.
    """
    for option, value in (("samples", samples), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} is {value}; it must be at least 1")
    if isinstance(source, Batches):
        return source
    cut = partial(stacked_batches, inputs=inputs, samples=samples, batch_size=batch_size, seed=seed)
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return given_batches(
                _folder_items(path, inputs), inputs, name=path.name, samples=samples
            )
        if path.exists() and path.suffix.lower() not in ARRAY_SUFFIXES:
            raise DataError(f"{path} is no {' or '.join(ARRAY_SUFFIXES)} file and no folder")
        return cut(read_arrays(path), name=path.name)
    if isinstance(source, Mapping):
        return cut(source, name="arrays")
    if isinstance(source, np.ndarray):
        return cut(_single(source, inputs, "array"), name="array")
    return given_batches(_object_items(source, inputs), inputs, name="batches", samples=samples)


def _folder_items(folder: Path, inputs: Sequence[InputSpec]) -> Iterator[Item]:
    names = [spec.name for spec in inputs]
    sets = list_test_sets(folder)
    for path in sets:
        yield Item(str(path), partial(read_test_set, path, names))
    files = [] if sets else list_array_files(folder)
    for path in files:
        yield Item(str(path), partial(read_arrays, path))
    if not sets and not files:
        raise DataError(
            f"{folder} holds no npz or npy files and no test_data_set_* folders; add some, or give "
            "the path of a file"
        )


def _object_items(source: object, inputs: Sequence[InputSpec]) -> Iterator[Item]:
    if callable(getattr(source, "get_next", None)):
        batches: Iterable[object] = _read_out(source)
    elif isinstance(source, Iterable):
        batches = source
    else:
        raise DataError(
            f"data of type {type(source).__name__} cannot be read; give a path, arrays by input "
            "name, an iterable of such batches, or an object with get_next()"
        )
    for i, batch in enumerate(batches):
        where = f"batch {i}"
        arrays = batch if isinstance(batch, Mapping) else _single(batch, inputs, where)
        if not isinstance(source, Sequence):
            # A generator may hand out one buffer again and again.
            arrays = {k: as_array(k, value, where).copy() for k, value in arrays.items()}
        yield Item(where, partial(dict, arrays))


def _read_out(reader: Any) -> Iterator[object]:
    _rewind(reader)
    while (batch := reader.get_next()) is not None:
        yield batch


def _rewind(reader: Any) -> None:
    """Set a reader to its beginning; one that cannot is read from where it stands."""
    if hasattr(reader, "rewind"):
        reader.rewind()
    elif hasattr(reader, "set_range") and hasattr(reader, "__len__"):
        # The base class of onnxruntime has both methods, and raises in both.
        with suppress(NotImplementedError):
            reader.set_range(0, len(reader))


def _single(array: object, inputs: Sequence[InputSpec], where: str) -> dict[str, Array]:
    """Name a bare array after the model's only input."""
    if not isinstance(array, np.ndarray):
        raise DataError(
            f"{where} is of type {type(array).__name__}; give arrays by input name, as a dict"
        )
    if len(inputs) != 1:
        names = ", ".join(repr(spec.name) for spec in inputs)
        raise DataError(
            f"{where} is one array, but the model has {len(inputs)} inputs; give them by name: "
            f"{names}"
        )
    return {inputs[0].name: array}
