"""Reads from a model's input, and the options, which form a picture has to have for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx_lobs.data.inputs import InputSpec, kind
from onnx_lobs.data.kinds.request import Request
from onnx_lobs.errors import ConfigError, DataError

CHANNELS = (1, 3)
Size = int | str | None


@dataclass(frozen=True)
class PictureForm:
    """What one picture becomes.

    Parameters
    ----------
    spec
        The input that it fills.
    channels
        1 or 3.
    is_last
        Whether they stand behind height and width.
    size
        Height and width.
    resize
        The shorter side before the picture is cropped, or height and width, or nothing: as
        small as covers `size`.
    order
        ``rgb``, ``bgr`` or ``gray``.
    """

    spec: InputSpec
    channels: int
    is_last: bool
    size: tuple[int, int]
    resize: tuple[int, ...]
    order: str


def takes_pictures(spec: InputSpec) -> bool:
    """Whether an input may take pictures: 3 axes or 4, with numbers, one of 1 or 3 or open."""
    shape = spec.shape or ()
    if len(shape) not in (3, 4) or kind(spec.dtype) not in ("float", "int"):
        return False
    return any(not isinstance(size, int) or size in CHANNELS for size in (shape[-3], shape[-1]))


def picture_form(request: Request) -> PictureForm:
    """Return the form of pictures that fill the model's only input.

    Raises
    ------
    DataError
        When the model has several inputs, or one that takes no pictures.
    ConfigError
        When options contradict the model, or are needed and were not given.
    """
    spec = _only(request.inputs)
    options = request.options
    shape = tuple(request.input_shapes.get(spec.name, spec.shape or ()))
    is_last = _is_last(spec, shape, options.layout)
    channels, *sides = (shape[-1], *shape[-3:-1]) if is_last else shape[-3:]
    order = options.channel_order
    if not isinstance(channels, int):
        channels = 1 if order == "gray" else 3
    if channels not in CHANNELS:
        place = "last" if is_last else "in front of height and width"
        raise DataError(
            f"input {spec.name!r} has {channels} channels, {place}, and pictures have 1 or 3; give "
            f"{'--layout' if options.layout is None else 'another --layout'}, or arrays (npz)"
        )
    if channels == 1 and order in ("rgb", "bgr"):
        raise ConfigError(
            f"channel_order is {order!r}, but input {spec.name!r} has one channel; leave it out"
        )
    return PictureForm(
        spec,
        channels,
        is_last,
        _size(spec, sides, request),
        options.resize or (),
        order or ("gray" if channels == 1 else "rgb"),
    )


def _only(inputs: Sequence[InputSpec]) -> InputSpec:
    found = [spec for spec in inputs if takes_pictures(spec)]
    if len(inputs) == 1 and found:
        return found[0]
    words = ", ".join(f"{spec.name!r} {_words(spec.shape)}" for spec in inputs)
    raise DataError(
        f"pictures fill one input of 3 or 4 axes, and the model takes {words}; give npz files, or "
        "FILE.py:FUNCTION, which yields all inputs by name"
    )


def _words(shape: Sequence[Size] | None) -> str:
    if shape is None:
        return "of any shape"
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _is_last(spec: InputSpec, shape: Sequence[Size], layout: str | None) -> bool:
    """Whether channels stand last: as the layout says, else where there are 1 or 3 of them."""
    if layout is not None:
        return layout == "nhwc"
    first, last = shape[-3], shape[-1]
    if first in CHANNELS or last in CHANNELS:
        return first not in CHANNELS
    if isinstance(first, int) or isinstance(last, int):
        return isinstance(first, int)
    raise ConfigError(
        f"input {spec.name!r} ({_words(shape)}) leaves open where its channels stand; give "
        "--layout nchw or nhwc"
    )


def _size(spec: InputSpec, sides: Sequence[Size], request: Request) -> tuple[int, int]:
    """Return height and width: the model's, else the crop, else the size after resizing."""
    wanted = request.options.crop or request.options.resize
    given = None if wanted is None else (wanted[0], wanted[-1])
    size = []
    for axis, side in enumerate(sides):
        if isinstance(side, int):
            if request.options.crop is not None and given is not None and given[axis] != side:
                raise ConfigError(
                    f"crop is {'x'.join(map(str, given))}, but input {spec.name!r} takes pictures "
                    f"of {_words(sides)}; leave it out, or use --resize"
                )
            size.append(side)
        elif given is not None:
            size.append(given[axis])
        else:
            raise ConfigError(
                f"input {spec.name!r} ({_words(spec.shape)}) leaves the size of pictures open; "
                "give --resize HxW, such as 224x224"
            )
    return size[0], size[1]
