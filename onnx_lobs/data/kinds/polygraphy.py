"""Opens inputs that Polygraphy saved as JSON: a list of feeds, arrays as npy in base64."""

from __future__ import annotations

import base64
import binascii
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onnx_lobs.arrays import Array
from onnx_lobs.data.archive import BROKEN_ARRAYS, read_npy
from onnx_lobs.data.batches import Batches, Item, given_batches
from onnx_lobs.data.kinds.request import Place, Request
from onnx_lobs.errors import DataError

_ARRAY = "array"
_BROKEN: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    TypeError,
    binascii.Error,
    RecursionError,
    AttributeError,
    *BROKEN_ARRAYS,
)


def open_polygraphy(place: Place, request: Request) -> Batches:
    """Return the feeds of JSON files as batches; nothing is ever unpickled.

    Raises
    ------
    DataError
        When a file is missing or damaged, or holds something else.

    Notes
    -----
    Memory: all arrays, as they lie in the files.
    """
    items = [
        Item(f"{path}, feed {number}", partial(dict, feeds))
        for path in place.files
        for number, feeds in enumerate(read_feeds(path))
    ]
    return given_batches(items, request.inputs, name=place.name, samples=request.samples)


def read_feeds(path: Path) -> list[dict[str, Array]]:
    """Return every ``{name: array}`` that a file holds: a list of such, or one.

    Raises
    ------
    DataError
        When the file is missing or damaged, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        feeds = content if isinstance(content, list) else [content]
        return [{str(name): _array(value) for name, value in feed.items()} for feed in feeds]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path") from error
    except _BROKEN as error:
        words = str(error).splitlines() or [type(error).__name__]
        raise DataError(
            f"{path} holds no inputs that Polygraphy saved ({words[0]}); write it with "
            "polygraphy.json.save_json([{'input': array}, ...], path)"
        ) from error


def _array(value: Any) -> Array:
    """Return one array: base64 of an npy file under ``array``, or plain numbers."""
    if isinstance(value, dict):
        return read_npy(io.BytesIO(base64.b64decode(value[_ARRAY], validate=True)))
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{str(value)[:40]!r} is no array")
    return array
