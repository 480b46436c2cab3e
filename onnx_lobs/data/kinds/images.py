"""Opens pictures as samples: files, patterns, folders with or without a folder for each class."""

from __future__ import annotations

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import kind
from onnx_lobs.data.kinds.class_folders import folder_labels
from onnx_lobs.data.kinds.picture_form import PictureForm, picture_form
from onnx_lobs.data.kinds.pictures import load_pillow, read_picture
from onnx_lobs.data.kinds.pixel_values import pixel_values
from onnx_lobs.data.kinds.request import Place, Request
from onnx_lobs.data.kinds.samples import SampleSource, sampled_batches
from onnx_lobs.errors import ConfigError

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jfif",
)  # fmt: skip
READS = (
    "preset", "mean", "std", "scale", "layout", "resize", "crop", "channel_order", "classes",
)  # fmt: skip


def open_images(place: Place, request: Request) -> Batches:
    """Return batches of pictures, which are decoded when they are needed.

    Raises
    ------
    DataError, ConfigError
        As :func:`onnx_lobs.data.kinds.picture_form.picture_form`,
        :func:`onnx_lobs.data.kinds.pictures.read_picture` and
        :func:`onnx_lobs.data.kinds.class_folders.folder_labels`.
    """
    load_pillow()
    form = picture_form(request)
    found = folder_labels(place, request)
    name = form.spec.name
    source = SampleSource(
        place.name,
        len(place.files),
        lambda i: {name: read_picture(place.files[i], form)},
        _sides(form, request),
        found.labels,
        place.is_grouped,
        found.notes,
        files=place.names,
    )
    return sampled_batches(source, request)


def _sides(form: PictureForm, request: Request) -> dict[str, Array]:
    """Return what turns pixels into the input's numbers: nothing where it takes integers."""
    name = form.spec.name
    if kind(form.spec.dtype) == "int":
        if request.options.values_given() and request.options.preset != "0-255":
            given = request.options.values_given()[0]
            raise ConfigError(
                f"{given} was given, but input {name!r} takes {form.spec.dtype}: pixels go in as "
                "they are; leave it out"
            )
        return {}
    values = pixel_values(request.options)
    shape = (1, 1, 1, -1) if form.is_last else (1, -1, 1, 1)
    factor, offset = values.affine(form.channels, is_reversed=form.order == "bgr")
    return {
        f"{name}.scale": np.reshape(factor, shape),
        f"{name}.offset": np.reshape(offset, shape),
    }
