"""Opens what holds arrays: npz and npy files, one or a folder, and ONNX's test data sets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from onnx_lobs.data.batches import Batches, Item, given_batches, stacked_batches
from onnx_lobs.data.files import list_test_sets, read_arrays, read_test_set
from onnx_lobs.data.kinds.request import Place, Request


def open_arrays(place: Place, request: Request) -> Batches:
    """Return a single file's arrays as a stack, the arrays of several as batches.

    Raises
    ------
    DataError
        When a file is missing or damaged, or does not fit the inputs.
    """
    if place.files == (place.root,):
        return stacked_batches(
            read_arrays(place.root),
            request.inputs,
            name=place.name,
            samples=request.samples,
            batch_size=request.batch_size,
            seed=request.seed,
        )
    items = (Item(str(path), partial(read_arrays, path)) for path in place.files)
    return given_batches(items, request.inputs, name=place.name, samples=request.samples)


def find_test_sets(place: Place) -> tuple[Path, ...]:
    """Return the ``test_data_set_*`` folders of a folder, or the folder if it is one."""
    return tuple(list_test_sets(place.root)) if place.is_folder else ()


def open_test_sets(place: Place, request: Request) -> Batches:
    """Return each test data set as a batch; errors as :func:`open_arrays`."""
    names = [spec.name for spec in request.inputs]
    items = (Item(str(path), partial(read_test_set, path, names)) for path in place.files)
    return given_batches(items, request.inputs, name=place.name, samples=request.samples)
