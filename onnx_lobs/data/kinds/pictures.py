"""Decodes a picture file, and brings it to the form that a model takes. Uses Pillow.

Turned as its EXIF data say, transparent parts white, colours from CMYK and palettes, 16 bits
brought down to 8; resized with a triangle filter that averages, the middle cut out.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.kinds.extras import need
from onnx_lobs.data.kinds.picture_form import PictureForm
from onnx_lobs.errors import ConfigError, DataError

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError)
_WIDE = ("I", "F")  # modes whose values exceed one byte
_TOP, _BYTE = 65535, 257  # of 16 bits; what brings them down to 8


def load_pillow() -> Any:
    """Return Pillow's module Image, or raise ConfigError with the command that installs it."""
    return need("PIL.Image", "images", "pictures are read by Pillow")


def read_picture(path: Path, form: PictureForm) -> Array:
    """Return a picture as uint8, (channels, height, width) or with the channels last.

    Raises
    ------
    DataError
        When the file is missing or broken, or the picture does not cover the crop.
    ConfigError
        When Pillow is not installed.
    """
    image = load_pillow()
    try:
        with image.open(path) as file:
            picture = _in_eight_bits(file, gray=form.order == "gray", path=path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except (*_BROKEN, image.DecompressionBombError) as error:
        words = str(error).splitlines() or [type(error).__name__]
        raise DataError(
            f"the picture {path} cannot be read ({words[0]}); remove or replace it"
        ) from error
    pixels = np.asarray(_cropped(_resized(picture, form, image), form, path))
    if form.channels == 1:
        return pixels[..., None] if form.is_last else pixels[None]
    if form.order == "gray":
        pixels = np.repeat(pixels[..., None], form.channels, axis=2)
    elif form.order == "bgr":
        pixels = pixels[..., ::-1]
    return np.ascontiguousarray(pixels if form.is_last else pixels.transpose(2, 0, 1))


def _in_eight_bits(file: Any, *, gray: bool, path: Path) -> Any:
    """Return an opened picture upright, in mode L or RGB."""
    ops = need("PIL.ImageOps", "images", "pictures are read by Pillow")
    image = load_pillow()
    picture = ops.exif_transpose(file)
    if picture.mode[0] in _WIDE:
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > _TOP or values.dtype.kind == "f":
            raise DataError(
                f"the picture {path} holds values of {values.dtype} beyond 16 bits; give arrays "
                "(npz) for such"
            )
        picture = image.fromarray((values // _BYTE).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        above = picture.convert("RGBA")
        below = image.new("RGBA", above.size, "white")
        picture = image.alpha_composite(below, above)
    return picture.convert("L" if gray else "RGB")


def _resized(picture: Any, form: PictureForm, image: Any) -> Any:
    """Return a picture in the size that it is cropped from."""
    height, width = form.size
    if len(form.resize) == 2:
        height, width = form.resize
    else:
        scale = max(height / picture.height, width / picture.width)
        if form.resize:
            scale = form.resize[0] / min(picture.height, picture.width)
        height, width = (max(1, round(side * scale)) for side in (picture.height, picture.width))
    if (width, height) == picture.size:
        return picture
    return picture.resize((width, height), image.Resampling.BILINEAR)


def _cropped(picture: Any, form: PictureForm, path: Path) -> Any:
    """Return the middle of a picture."""
    height, width = form.size
    if picture.height < height or picture.width < width:
        words = "x".join(map(str, form.resize))
        raise ConfigError(
            f"resize {words} makes {path} {picture.height}x{picture.width}, less than the "
            f"{height}x{width} that are taken of it; give a larger --resize"
        )
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))
