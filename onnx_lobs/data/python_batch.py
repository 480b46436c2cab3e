"""Names the arrays of a batch that a program hands over: a dict, an array, a tuple with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.fit import LABEL_NAMES, as_array
from onnx_lobs.data.foreign import is_array_like, is_numbers
from onnx_lobs.data.inputs import InputSpec
from onnx_lobs.errors import DataError


def name_arrays(batch: object, inputs: Sequence[InputSpec], where: str) -> dict[str, Any]:
    """Return ``{input: array}`` of a batch, with ``label`` where it holds labels.

    Parameters
    ----------
    batch
        ``{input: array}``; one array or tensor for a model with one input; a list or tuple of
        the inputs in the model's order, with or without labels behind them, as a DataLoader
        gives; ``(inputs, labels)``, where inputs is any of these; or a list of samples.
    inputs
        The model's inputs.
    where
        What the batch is called, the first words of a message.

    Raises
    ------
    DataError
        When it is something else.
    """
    if isinstance(batch, Mapping):
        return dict(batch)
    if is_array_like(batch) or is_numbers(batch):
        return _single(batch, inputs, where)
    if isinstance(batch, list | tuple) and batch:
        return _named_parts(batch, inputs, where)
    raise DataError(f"{where} is of type {_kind(batch)}; give arrays by input name, as a dict")


def _single(array: object, inputs: Sequence[InputSpec], where: str) -> dict[str, Any]:
    """Name a bare array after the model's only input."""
    if len(inputs) != 1:
        raise DataError(
            f"{where} is one array, but the model has {len(inputs)} inputs; give them by name: "
            f"{_names(inputs)}"
        )
    return {inputs[0].name: array}


def _named_parts(batch: Sequence[Any], inputs: Sequence[InputSpec], where: str) -> dict[str, Any]:
    first, n = batch[0], len(inputs)
    if not is_array_like(first) and not is_numbers(first) and len(batch) <= 2:
        return name_arrays(first, inputs, where) | _labels(batch[1:], inputs)
    if is_array_like(first):
        if n == 1 and _are_samples(batch, inputs[0], where):
            return {inputs[0].name: np.stack([as_array(inputs[0].name, x, where) for x in batch])}
        if len(batch) in (n, n + 1):
            names = [spec.name for spec in inputs]
            return dict(zip(names, batch, strict=False)) | _labels(batch[n:], inputs)
    raise DataError(
        f"{where} is a {type(batch).__name__} of {len(batch)} parts, and the model has {n} "
        f"input{'s' * (n > 1)}: {_names(inputs)}; give ({_names(inputs)}), or that and labels, or "
        "arrays by input name, as a dict"
    )


def _are_samples(batch: Sequence[Any], spec: InputSpec, where: str) -> bool:
    """Whether the parts are samples of one shape, which lack the batch axis."""
    if not all(map(is_array_like, batch)):
        return False
    shapes = {as_array(spec.name, part, where).shape for part in batch}
    rank = None if spec.shape is None else len(spec.shape) - 1
    return len(shapes) == 1 and len(next(iter(shapes))) == rank


def _labels(rest: Sequence[Any], inputs: Sequence[InputSpec]) -> dict[str, Any]:
    """Return labels by a name that is no input's; what is no array, such as boxes, is left out."""
    if not rest or not (is_array_like(rest[0]) or is_numbers(rest)):
        return {}
    taken = {spec.name for spec in inputs}
    name = next(name for name in LABEL_NAMES if name not in taken)
    return {name: rest[0]}


def stack_of_tuple(source: tuple[Any, ...], inputs: Sequence[InputSpec]) -> bool:
    """Whether a tuple is ``(inputs, labels)`` or the inputs of all samples, and not batches."""
    if len(source) not in (len(inputs), len(inputs) + 1) or len(source) < 2:
        return False
    if not all(is_array_like(part) or is_numbers(part) for part in source):
        return False
    shapes = [as_array("data", part, "data").shape for part in source]
    return len(inputs) > 1 or (shapes[0] != shapes[1] and shapes[0][:1] == shapes[1][:1])


def _names(inputs: Sequence[InputSpec]) -> str:
    return ", ".join(repr(spec.name) for spec in inputs)


def _kind(value: object) -> str:
    return type(value).__name__


def copied(arrays: Mapping[str, Any], where: str) -> dict[str, Array]:
    """Return copies of arrays: a generator may hand out one buffer again and again."""
    return {str(name): as_array(name, value, where).copy() for name, value in arrays.items()}
