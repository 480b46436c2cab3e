"""Matching named arrays to a model's inputs: names, shapes, dtypes, scales, labels, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batch_axis import BatchAxis, batch_axes
from onnx_lobs.data.columns import Column, Table
from onnx_lobs.data.foreign import to_array
from onnx_lobs.data.inputs import DType, InputSpec, kind
from onnx_lobs.data.reading import Reading, choose_readings, read_batch, stack_readings
from onnx_lobs.errors import DataError

LABEL_NAMES = ("label", "labels", "y")
_SIDE_SUFFIXES = (".scale", ".offset")
# {what is stored: what the model may want}; ints fit floats only by a scale.
_SAFE = {"bool": ("bool", "int", "float"), "int": ("int", "bool")}


def fit(
    arrays: Mapping[str, Any], inputs: Sequence[InputSpec], *, where: str, whole: bool
) -> Table:
    """Match arrays by name to the model's inputs and check shapes, dtypes and counts.

    Values are not looked at; that is :meth:`Table.check`.

    Parameters
    ----------
    arrays
        ``{name: array}``; besides inputs it may hold labels (``label``, ``labels`` or
        ``y``) and ``<name>.scale`` / ``<name>.offset``. A model with one input takes any
        one array. Not modified.
    inputs
        The model's inputs.
    where
        What the arrays come from, the first words of a message.
    whole
        True: the arrays are one batch, fed whole if the model takes it so. False: they are a
        stack, to be cut along the axis that counts samples
        (:func:`onnx_lobs.data.batch_axis.batch_axes`), which may have any size; the samples may
        lie along the first axis in place of it. Arrays with one axis more than an input are
        samples that are fed one a call. Inputs without a batch axis are given whole.

    Raises
    ------
    DataError
        When something does not fit; the message names it and the remedy.
    """
    given = {str(name): as_array(name, value, where) for name, value in arrays.items()}
    sources = _sources(given, inputs, where)
    sides = {name: array for name, array in given.items() if name not in sources}
    axes = batch_axes(inputs)
    raw = [_raw(given[sources[spec.name]], spec) for spec in inputs]
    readings = _batch_readings(raw, inputs, axes) if whole else None
    is_whole = readings is not None
    if readings is None:
        readings, n_samples = _stack_readings(raw, inputs, axes, where)
    else:
        n_samples = _count(readings, inputs, where)
    columns = tuple(
        _column(reading, sides, sources[spec.name], spec, where)
        for reading, spec in zip(readings, inputs, strict=True)
    )
    return Table(columns, _labels(given, sources, n_samples, where), n_samples, is_whole)


def as_array(name: object, value: Any, where: str) -> Array:
    """Return what was given as an array, or raise DataError with its name and place."""
    try:
        return to_array(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{where}: {name!r} is no array ({error}); give equal shapes, stacked by numpy.stack"
        ) from error


def _sources(given: dict[str, Array], inputs: Sequence[InputSpec], where: str) -> dict[str, str]:
    """Return ``{input: name of the array that feeds it}``."""
    names = [spec.name for spec in inputs]
    bases = set(given) | set(names)
    free = [n for n in given if n not in names and n not in LABEL_NAMES and not _is_side(n, bases)]
    found = ", ".join(map(repr, given)) or "nothing"
    if len(names) == 1 and names[0] not in given and len(free) == 1:
        return {names[0]: free[0]}
    missing = [name for name in names if name not in given]
    if missing:
        raise DataError(
            f"{where}: input {missing[0]!r} is missing; found {found}; the model needs "
            f"{', '.join(map(repr, names))}"
        )
    if free:
        raise DataError(
            f"{where}: {free[0]!r} is no input of the model, which needs "
            f"{', '.join(map(repr, names))}; rename or remove it"
        )
    return {name: name for name in names}


def _is_side(name: str, bases: set[str]) -> bool:
    return any(name.endswith(end) and name[: -len(end)] in bases for end in _SIDE_SUFFIXES)


def _raw(stored: Array, spec: InputSpec) -> Array:
    """Return an array with the type that it had before it was stored."""
    if stored.dtype.kind == "V" and stored.dtype.name == "void16" and spec.dtype.name == "bfloat16":
        return stored.view(ml_dtypes.bfloat16)  # what numpy.save makes of bfloat16
    return stored


def _batch_readings(
    arrays: Sequence[Array], inputs: Sequence[InputSpec], axes: Sequence[BatchAxis]
) -> list[Reading] | None:
    """Return arrays as one batch that the model takes as it is; None: it does not."""
    parts = zip(arrays, inputs, axes, strict=True)
    readings = [read_batch(*part) for part in parts]
    found = [reading for reading in readings if reading is not None]
    return found if len(found) == len(readings) else None


def _stack_readings(
    arrays: Sequence[Array], inputs: Sequence[InputSpec], axes: Sequence[BatchAxis], where: str
) -> tuple[list[Reading], int]:
    """Return arrays as stacks of samples, and the number of samples."""
    parts = list(zip(arrays, inputs, axes, strict=True))
    readings = [stack_readings(*part) for part in parts]
    for ways, (array, spec, at) in zip(readings, parts, strict=True):
        if not ways:
            words = _shape_words(spec, at)
            raise DataError(
                f"{where}: input {spec.name!r} has shape {array.shape}; the model wants {words}; "
                "reshape or transpose it"
            )
    return choose_readings(readings, inputs, axes, where)


def _shape_words(spec: InputSpec, at: BatchAxis) -> str:
    """Return the shape that a stack must have, in words."""
    shape = spec.shape or ()
    sizes = ["?" if size is None or axis == at.axis else size for axis, size in enumerate(shape)]
    words = f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
    if None in (at.axis, spec.fixed_batch) or at.axis != 0:
        return words
    exact = ", ".join("?" if size is None else str(size) for size in shape)
    return f"{words}, or a stack of such as have ({exact})"


def _column(
    reading: Reading, sides: dict[str, Array], source: str, spec: InputSpec, where: str
) -> Column:
    scale, offset = (
        _side(sides, (source + end, spec.name + end), reading, where) for end in _SIDE_SUFFIXES
    )
    scaled = scale is not None or offset is not None
    _check_dtype(reading.stored.dtype, spec, source, scaled, where)
    return Column(spec, reading, scale, offset)


def _side(
    sides: dict[str, Array], names: tuple[str, str], reading: Reading, where: str
) -> Array | None:
    """Return the scale or offset so that it broadcasts against a stack of samples."""
    name = next((name for name in names if name in sides), None)
    if name is None:
        return None
    side = sides[name]
    if kind(side.dtype) not in ("float", "int"):
        raise DataError(f"{where}: {name!r} holds {side.dtype}; it must hold floats")
    axis, shape = reading.axis or 0, reading.stored.shape
    channels = axis + 1  # behind the samples, as DequantizeLinear has it
    if side.ndim == 1 and side.size > 1 and len(shape) > channels:
        side = side.reshape(-1, *[1] * (len(shape) - channels - 1))
    one = tuple(1 if place == axis else size for place, size in enumerate(shape))
    try:
        fits = np.broadcast_shapes(side.shape, one) == one
    except (ValueError, RuntimeError):  # RuntimeError: more axes than NumPy broadcasts
        fits = False
    if not fits and side.size != 1:
        sample = tuple(size for place, size in enumerate(shape) if place != axis)
        raise DataError(
            f"{where}: {name!r} has shape {sides[name].shape}, which does not broadcast over "
            f"samples of shape {sample}; give one number, or one per index of axis {channels}"
        )
    return side.reshape(()) if side.size == 1 else side


def _check_dtype(stored: DType, spec: InputSpec, source: str, scaled: bool, where: str) -> None:
    have, want = kind(stored), kind(spec.dtype)
    if scaled:
        safe = want == "float" and have in ("float", "int", "bool")
    else:
        safe = stored == spec.dtype or want in _SAFE.get(have, (have,))
    if safe and have != "other":
        return
    remedy = f"convert it with astype({spec.dtype.name!r})"
    if have == "int" and want == "float":
        remedy = f"store its scale as '{source}.scale' (e.g. 1/255 for pixels), or {remedy}"
    elif scaled:
        remedy = "remove its scale and offset, which only float inputs take"
    raise DataError(
        f"{where}: {source!r} holds {stored}, but input {spec.name!r} takes {spec.dtype}; {remedy}"
    )


def _count(readings: Sequence[Reading], inputs: Sequence[InputSpec], where: str) -> int:
    """Return the number of samples in a batch; one where no input has a batch axis."""
    sizes: dict[object, tuple[str, int]] = {}
    open_sizes: list[int] = []
    for reading, spec in zip(readings, inputs, strict=True):
        n = reading.count
        if n is None or reading.axis is None:
            continue
        size = spec.shape[reading.axis] if spec.shape else None
        # only axes of one symbolic name are known to be the same
        key = size if isinstance(size, str) else spec.name
        other, expected = sizes.setdefault(key, (spec.name, n))
        if n == 0:
            raise DataError(f"{where}: {spec.name!r} holds no samples; give at least one")
        if n != expected:
            raise DataError(
                f"{where}: {spec.name!r} has {n} samples and {other!r} has {expected}; give the "
                "same number"
            )
        if not isinstance(size, int):
            open_sizes.append(n)
    return next(iter([*open_sizes, *(n for _, n in sizes.values())]), 1)


def _labels(
    given: dict[str, Array], sources: dict[str, str], n_samples: int, where: str
) -> Array | None:
    used = set(sources) | set(sources.values())
    name = next((n for n in LABEL_NAMES if n in given and n not in used), None)
    if name is None:
        return None
    labels = np.atleast_1d(given[name])
    if len(labels) != n_samples:
        raise DataError(
            f"{where}: {name!r} has {len(labels)} labels for {n_samples} samples; give one each"
        )
    return labels
