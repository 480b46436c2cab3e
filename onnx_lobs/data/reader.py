"""From whatever the user has, files, arrays, iterables or readers, to re-iterable batches."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from onnx_lobs.data.batches import Batches, Item, given_batches, stacked_batches
from onnx_lobs.data.files import ARRAY_SUFFIXES, read_arrays
from onnx_lobs.data.foreign import is_array_like, is_numbers
from onnx_lobs.data.inputs import InputSpec, check_named, input_specs
from onnx_lobs.data.kinds.place import find_place
from onnx_lobs.data.kinds.request import LabelNeed, Request
from onnx_lobs.data.kinds.table import open_path
from onnx_lobs.data.python_batch import copied, name_arrays, stack_of_tuple
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.options.samples import SampleOptions

__all__ = ["Batches", "InputSpec", "input_specs", "open_data"]


def open_data(
    source: object,
    inputs: Sequence[InputSpec],
    *,
    samples: int | None,
    batch_size: int,
    seed: int = 0,
    options: SampleOptions | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    n_classes: int | None = None,
    labels: LabelNeed = LabelNeed.UNUSED,
) -> Batches:
    """Open calibration data of any kind and check all that will be used of it.

    Parameters
    ----------
    source
        The path of a file or folder, a pattern of such, or a list of files, of any kind that is
        in :data:`onnx_lobs.data.kinds.table.KINDS`. Or stacked samples, which are cut along the
        axis that counts them (:mod:`onnx_lobs.data.batch_axis`), as an npz file is: a
        ``{name: array}`` mapping, one array or tensor for a model with one input, or a tuple of
        that and labels. Or batches, which are taken as they are, as folders of npz files are: any
        iterable of what :func:`onnx_lobs.data.python_batch.name_arrays` knows (a DataLoader,
        a generator function), or any object with ``get_next()`` such as onnxruntime's
        CalibrationDataReader (rewound first if it can be). Arrays are not modified; iterables
        that are no sequences are copied.
    inputs
        The model's inputs, from :func:`input_specs`.
    samples
        Largest number of samples used; None uses all. Of a stack a seeded random subset is
        taken, of batches the first ones.
    batch_size
        Samples per batch cut from a stack; a first axis that the model fixes wins.
    seed
        Seeds the subset.
    options, input_shapes, n_classes, labels
        How files that are no arrays become samples:
        :class:`onnx_lobs.data.kinds.request.Request`.

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
        When `samples` or `batch_size` is below 1, or a kind of data needs an option or a library.

    Notes
    -----
    Everything used is read and converted once here to be checked. A stack is held as it
    is stored; files are read again whenever they are needed.
    """
    for option, value in (("samples", samples), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} is {value}; it must be at least 1")
    if isinstance(source, Batches):
        return source
    check_named(input_shapes or (), inputs)
    if find_place(source) is not None:
        request = Request(
            inputs=inputs,
            samples=samples,
            batch_size=batch_size,
            seed=seed,
            options=options or SampleOptions(),
            input_shapes=input_shapes or {},
            n_classes=n_classes,
            labels=labels,
        )
        return open_path(source, request)
    cut = partial(stacked_batches, inputs=inputs, samples=samples, batch_size=batch_size, seed=seed)
    if isinstance(source, Mapping):
        return cut(source, name="arrays")
    if is_array_like(source) or is_numbers(source):
        return cut(name_arrays(source, inputs, "array"), name="array")
    if isinstance(source, tuple) and stack_of_tuple(source, inputs):
        return cut(name_arrays(source, inputs, "data"), name="arrays")
    return given_batches(_object_items(source, inputs), inputs, name="batches", samples=samples)


def _object_items(source: object, inputs: Sequence[InputSpec]) -> Iterator[Item]:
    source = _called(source)
    is_kept = isinstance(source, Sequence)
    for i, batch in enumerate(_iterate(source)):
        where = f"batch {i}"
        if isinstance(batch, (str, os.PathLike)):
            yield _path_item(Path(batch))
            continue
        arrays = name_arrays(batch, inputs, where)
        yield Item(where, partial(dict, arrays if is_kept else copied(arrays, where)))


def _path_item(path: Path) -> Item:
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError(
            f"{path} is no {' or '.join(ARRAY_SUFFIXES)} file; give a list of files of another kind"
        )
    return Item(str(path), partial(read_arrays, path))


def _called(source: object) -> object:
    """Return what a generator function yields; anything else is returned as it is."""
    is_data = hasattr(source, "__iter__") or hasattr(source, "get_next")
    if not callable(source) or (is_data and not isinstance(source, type)):
        return source
    name = getattr(source, "__name__", type(source).__name__)
    try:
        needed = [
            parameter.name
            for parameter in inspect.signature(source).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError) as error:
        raise DataError(f"data is {name!r}, which cannot be read; give batches") from error
    if isinstance(source, type) or needed:
        takes = ", ".join(needed) or "nothing"
        raise DataError(
            f"data is {name!r}, which takes {takes}; give a generator function that takes nothing, "
            "or the batches themselves"
        )
    return source()


def _iterate(source: Any) -> Iterable[object]:
    """Return the batches of a reader, an iterable, or a data set that is indexed."""
    if callable(getattr(source, "get_next", None)):
        return _read_out(source)
    if isinstance(source, Iterable):
        return source
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return (source[i] for i in range(len(source)))
    raise DataError(
        f"data of type {type(source).__name__} cannot be read; give a path, arrays by input "
        "name, an iterable of such batches, or an object with get_next()"
    )


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
