"""Made-up inputs for a model without data: a guess, and marked as one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batch_axis import batch_axes
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.columns import integer_limits
from onnx_lobs.data.inputs import InputSpec, check_named, kind
from onnx_lobs.data.made_up_pictures import channel_axis, natural_pictures
from onnx_lobs.errors import ConfigError, DataError, InferenceError

_IMAGE_SIZE = 224
_CHANNELS = 3
_LENGTH = 32  # of sequences, and of open axes that nothing is known about
_SOUND = 16000  # samples of sound, which windows of a Fourier transform have to fit in
_SOUND_NAMES = "audio|wave|speech|pcm|signal"
_TOKENS = 100  # ids below this exist in most vocabularies
_PIXELS = 256
_DEVIATION = 60  # of the pixels of pictures, as of photographs
MOST_BYTES = 1 << 29  # of one input in one batch that is made up


def synthetic_batches(
    inputs: Sequence[InputSpec],
    *,
    samples: int,
    batch_size: int,
    seed: int,
    input_shapes: Mapping[str, tuple[int, ...]],
) -> Batches:
    """Make up seeded inputs that a model can run on; ``synthetic`` is set on the result.

    Floats are standard normal, of pictures (4 axes, 1 or 3 channels) with the spectrum of natural
    ones (:mod:`onnx_lobs.data.made_up_pictures`), integers uniform over the rows of the table that
    they choose from, else in [0, 100) (bytes of images in [0, 256)), booleans true. Inputs named
    ``*mask*`` are ones, token types and segments zeros, integers named ``*len*`` the largest size
    of the others behind the first axis.

    Parameters
    ----------
    inputs
        The model's inputs. An open batch axis counts the samples. Other open axes are 224
        for the height and width of images and 3 for their channels, 16000 for sound, which goes
        by its name, and 32 elsewhere; one symbolic name has one size throughout.
    samples
        Number of samples. At least one batch is made, which may hold more where the
        model or `input_shapes` fixes the batch axis.
    batch_size
        Samples per batch where the batch axis is open. Another one gives other values.
    seed
        Same seed, same values, on every iteration too.
    input_shapes
        ``{input: full shape}``, the first axis included. These win over every guess.

    Raises
    ------
    DataError
        When an input's rank is unknown, its type cannot be made up, or a batch of it would take
        more than :data:`MOST_BYTES`.
    ConfigError
        When `input_shapes` names no input or contradicts the model.
    """
    known = _known_sizes(inputs, input_shapes)
    for spec in inputs:
        if spec.shape is None and spec.name not in input_shapes:
            raise DataError(
                f"the rank of input {spec.name!r} is unknown, so nothing can be made up; give "
                f"data, or its shape: --input-shape {spec.name}:1x3x224x224"
            )
        if kind(spec.dtype) not in ("float", "int", "bool"):
            raise DataError(
                f"input {spec.name!r} takes {spec.dtype}, which cannot be made up; give data"
            )
    sizes = _batch_sizes(inputs, samples, batch_size, input_shapes, known)
    _check_bytes(inputs, _shapes(inputs, max(sizes), input_shapes, known))

    def load(i: int) -> dict[str, Array]:
        rng = np.random.default_rng([seed, i])
        shapes = _shapes(inputs, sizes[i], input_shapes, known)
        length = max((size for shape in shapes.values() for size in shape[1:]), default=_LENGTH)
        return {spec.name: _values(spec, shapes[spec.name], length, rng) for spec in inputs}

    def recut(size: int) -> Batches:
        return synthetic_batches(
            inputs, samples=samples, batch_size=size, seed=seed, input_shapes=input_shapes
        )

    origin = f"synthetic inputs ({sum(sizes)} samples, seed {seed})"
    return Batches(load, sizes, origin, synthetic=True, recut=recut)


def _check_bytes(inputs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse inputs whose sizes alone would take all memory."""
    for spec in inputs:
        n_bytes = math.prod(shapes[spec.name]) * spec.dtype.itemsize
        if n_bytes > MOST_BYTES:
            words = "x".join(map(str, shapes[spec.name]))
            raise DataError(
                f"input {spec.name!r} takes {words} values, {n_bytes} bytes a batch, and at most "
                f"{MOST_BYTES} are made up; give data with -d, or smaller sizes with --input-shape"
            )


@contextmanager
def guesses(batches: Batches) -> Iterator[None]:
    """Where the model fails inside, on inputs that were made up, say so and name the remedy.

    Raises
    ------
    InferenceError
        The one raised inside.
    """
    try:
        yield
    except InferenceError as error:
        if not batches.synthetic:
            raise
        raise InferenceError(
            f"{error}; these inputs were made up, sizes that the model leaves open too: give real "
            "ones with -d, or sizes that it takes with --input-shape NAME:1x512"
        ) from error


def _known_sizes(
    inputs: Sequence[InputSpec], input_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Return ``{symbolic name: size}`` as `input_shapes` settles it, after checking that."""
    check_named(input_shapes, inputs)
    specs = {spec.name: spec for spec in inputs}
    known: dict[str, int] = {}
    for name, shape in input_shapes.items():
        wanted = specs[name].shape
        if wanted is None:
            continue
        given = "x".join(map(str, shape))
        if len(shape) != len(wanted):
            raise ConfigError(
                f"--input-shape {name}:{given} has {len(shape)} axes; the model wants {len(wanted)}"
            )
        for axis, (size, want) in enumerate(zip(shape, wanted, strict=True)):
            limit = known.setdefault(want, size) if isinstance(want, str) else want
            if limit is not None and size != limit:
                raise ConfigError(
                    f"--input-shape {name}:{given} has {size} on axis {axis}; it must be {limit} "
                    f"({'the model fixes it' if want == limit else f'{want!r} has that size'})"
                )
    return known


def _batch_sizes(
    inputs: Sequence[InputSpec],
    samples: int,
    batch_size: int,
    input_shapes: Mapping[str, tuple[int, ...]],
    known: Mapping[str, int],
) -> tuple[int, ...]:
    """Return the number of samples of each batch."""
    shapes = _shapes(inputs, -1, input_shapes, known)  # -1 marks the open batch axes
    if any(-1 in shape for shape in shapes.values()):
        full, rest = divmod(samples, batch_size)
        return (batch_size,) * full + ((rest,) if rest else ())
    places = zip(shapes.values(), batch_axes(inputs), strict=True)
    size = next((shape[at.axis] for shape, at in places if at.axis is not None and shape), 1)
    return (size,) * max(1, samples // size)


def _shapes(
    inputs: Sequence[InputSpec],
    n_samples: int,
    input_shapes: Mapping[str, tuple[int, ...]],
    known: Mapping[str, int],
) -> dict[str, tuple[int, ...]]:
    """Return the shape of every input in a batch of `n_samples`."""
    sizes = dict(known)
    axes = batch_axes(inputs)
    for spec, at in zip(inputs, axes, strict=True):
        name = spec.shape[at.axis] if spec.shape and at.axis is not None else None
        if isinstance(name, str):
            sizes.setdefault(name, n_samples)
    shapes: dict[str, tuple[int, ...]] = {}
    for spec, at in zip(inputs, axes, strict=True):
        shape: list[int] = []
        for axis, size in enumerate(spec.shape or ()):
            if size is None:
                size = n_samples if axis == at.axis else _guess(spec, axis)
            elif isinstance(size, str):
                size = sizes.setdefault(size, _guess(spec, axis))
            shape.append(size)
        shapes[spec.name] = input_shapes.get(spec.name, tuple(shape))
    return shapes


def _guess(spec: InputSpec, axis: int) -> int:
    """Guess the size of an open axis that does not count samples."""
    shape = spec.shape or ()
    open_axes = [i for i, size in enumerate(shape) if not isinstance(size, int)]
    name = shape[axis]
    if kind(spec.dtype) == "float" and re.search(_SOUND_NAMES, spec.name.lower()):
        return _SOUND if axis == len(shape) - 1 else _LENGTH
    if isinstance(name, str) and re.search(r"seq|len|time|token", name.lower()):
        return _LENGTH
    if (
        kind(spec.dtype) == "float"
        and len(shape) == 3
        and shape[0] in (1, _CHANNELS)
        and {1, 2} <= set(open_axes)
    ):
        return _IMAGE_SIZE  # channels, height, width
    if not _is_image(spec):
        return _LENGTH
    channels_last = shape[3] in (1, _CHANNELS, 4) and 1 in open_axes
    return _CHANNELS if axis == (3 if channels_last else 1) else _IMAGE_SIZE


def _is_image(spec: InputSpec) -> bool:
    return len(spec.shape or ()) == 4 and (kind(spec.dtype) == "float" or spec.dtype == np.uint8)


def _values(
    spec: InputSpec, shape: tuple[int, ...], length: int, rng: np.random.Generator
) -> Array:
    name, what = spec.name.lower(), kind(spec.dtype)
    if what == "bool" or "mask" in name:
        return np.ones(shape, spec.dtype)
    if what == "float":
        if channel_axis(shape) is not None:
            return natural_pictures(shape, rng).astype(spec.dtype)
        wide = np.float64 if spec.dtype == np.float64 else np.float32
        return np.asarray(rng.standard_normal(shape, dtype=wide), dtype=spec.dtype)
    if "token_type" in name or "segment" in name:
        return np.zeros(shape, spec.dtype)
    if "len" in name:
        return np.full(shape, length, spec.dtype)
    if spec.dtype == np.uint8 and channel_axis(shape) is not None:
        pixels = natural_pictures(shape, rng) * _DEVIATION + _PIXELS / 2
        return np.clip(pixels, 0, _PIXELS - 1).astype(np.uint8)
    below = spec.rows or (_PIXELS if _is_image(spec) else _TOKENS)
    below = min(below, integer_limits(spec.dtype)[1] + 1)
    return np.asarray(rng.integers(0, below, shape), dtype=spec.dtype)
