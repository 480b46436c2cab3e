"""Matching named arrays to a model's inputs: names, shapes, dtypes, scales, labels, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.columns import Column, Table
from onnx_lobs.data.inputs import DType, InputSpec, kind
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
        True: the arrays are one batch and are fed whole. False: they are a stack to be
        cut along axis 0, so a fixed first axis of the model does not bind them.

    Raises
    ------
    DataError
        When something does not fit; the message names it and the remedy.
    """
    given = {str(name): as_array(name, value, where) for name, value in arrays.items()}
    sources = _sources(given, inputs, where)
    sides = {name: array for name, array in given.items() if name not in sources}
    columns = tuple(
        _column(given[sources[spec.name]], sides, sources[spec.name], spec, where, whole)
        for spec in inputs
    )
    n_samples = _count(columns, where, whole)
    return Table(columns, _labels(given, sources, n_samples, where), n_samples)


def as_array(name: object, value: Any, where: str) -> Array:
    """Return what was given as an array, or raise DataError with its name and place."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
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


def _column(
    stored: Array, sides: dict[str, Array], source: str, spec: InputSpec, where: str, whole: bool
) -> Column:
    if stored.dtype.kind == "V" and stored.dtype.name == "void16" and spec.dtype.name == "bfloat16":
        stored = stored.view(ml_dtypes.bfloat16)  # what numpy.save makes of bfloat16
    stored = _fit_shape(stored, spec, where, whole)
    scale, offset = (
        _side(sides, (source + end, spec.name + end), stored.shape, where) for end in _SIDE_SUFFIXES
    )
    scaled = scale is not None or offset is not None
    _check_dtype(stored.dtype, spec, source, scaled, where)
    return Column(spec, stored, scale, offset)


def _fit_shape(array: Array, spec: InputSpec, where: str, whole: bool) -> Array:
    if spec.shape is None:
        return array
    wanted = spec.shape if whole else (None, *spec.shape[1:])[: len(spec.shape)]
    for candidate in (array, array[None]):
        if _matches(candidate.shape, wanted):
            return candidate
    words = ", ".join("?" if size is None else str(size) for size in wanted)
    remedy = "reshape or transpose it"
    if whole and _matches(array.shape[1:], spec.shape[1:]) and spec.fixed_batch:
        remedy = f"give batches of {spec.fixed_batch}, or one stacked array, which is cut to fit"
    raise DataError(
        f"{where}: input {spec.name!r} has shape {array.shape}; the model wants ({words}); {remedy}"
    )


def _matches(shape: tuple[int, ...], wanted: Sequence[int | str | None]) -> bool:
    return len(shape) == len(wanted) and all(
        not isinstance(want, int) or want == have for want, have in zip(wanted, shape, strict=True)
    )


def _side(
    sides: dict[str, Array], names: tuple[str, str], shape: tuple[int, ...], where: str
) -> Array | None:
    """Return the scale or offset so that it broadcasts against a stack of samples."""
    name = next((name for name in names if name in sides), None)
    if name is None:
        return None
    side = sides[name]
    if kind(side.dtype) not in ("float", "int"):
        raise DataError(f"{where}: {name!r} holds {side.dtype}; it must hold floats")
    if side.ndim == 1 and side.size > 1 and len(shape) > 1:
        # Along axis 1, the channels, as DequantizeLinear has it.
        side = side.reshape(-1, *[1] * (len(shape) - 2))
    try:
        fits = np.broadcast_shapes(side.shape, (1, *shape[1:])) == (1, *shape[1:])
    except ValueError:
        fits = False
    if not fits and side.size != 1:
        raise DataError(
            f"{where}: {name!r} has shape {sides[name].shape}, which does not broadcast over "
            f"samples of shape {shape[1:]}; give one number, or one per index of axis 1"
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


def _count(columns: Sequence[Column], where: str, whole: bool) -> int:
    """Return the number of samples; one where no input has a batch axis."""
    sizes: dict[object, tuple[str, int]] = {}
    for column in columns:
        if not column.stored.ndim:
            continue
        name, n = column.spec.name, len(column.stored)
        first = column.spec.shape[0] if column.spec.shape else None
        # In a batch fed whole only axes of one symbolic name are known to be the same.
        key = (first if isinstance(first, str) else name) if whole else None
        other, expected = sizes.setdefault(key, (name, n))
        if n == 0:
            raise DataError(f"{where}: {name!r} holds no samples; give at least one")
        if n != expected:
            raise DataError(
                f"{where}: {name!r} has {n} samples and {other!r} has {expected}; give the same "
                "number, or data that is cut into batches already (a folder, an iterable)"
            )
    open_first = [c for c in columns if c.stored.ndim and c.spec.fixed_batch is None]
    batched = open_first + [c for c in columns if c.stored.ndim]
    return len(batched[0].stored) if batched else 1


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
