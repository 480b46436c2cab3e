"""Hashes of all that a result depends on: program, model, data, options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from onnx_lobs.data.batches import Batches
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.graph.files.location import external_path, external_ref, is_external
from onnx_lobs.graph.files.tensors import raw_size
from onnx_lobs.graph.files.walk import iter_tensors
from onnx_lobs.linalg import compiled
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.option import values_of

_CHUNK = 1 << 20
_LIBRARIES = ("numpy", "scipy", "onnx", "onnxruntime")


def digest(*parts: object) -> str:
    """Return the SHA-256 of values that JSON can hold; others are taken by their repr."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


def package_folder() -> Path:
    """Return the folder of all of this package's code."""
    return Path(__file__).parents[2]


def program_hash() -> str:
    """Return a hash of this package's code and of the libraries that compute, Numba if it does."""
    return digest(_code_hash(), compiled.version())


@cache
def _code_hash() -> str:
    import onnxruntime

    root = package_folder()
    hasher = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        hasher.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    versions = [version(name) for name in _LIBRARIES if name != "onnxruntime"]
    return digest(hasher.hexdigest(), versions, onnxruntime.__version__)


def model_hash(loaded: LoadedModel) -> str:
    """Return a hash of a model and its external data. Memory: the model without the latter."""
    hasher = hashlib.sha256(loaded.proto.SerializeToString(deterministic=True))
    for tensor in iter_tensors(loaded.proto):
        ref = external_ref(tensor)
        if ref is None or not is_external(tensor):
            continue
        with external_path(tensor, loaded.folder).open("rb") as file:
            file.seek(ref.offset)
            left = raw_size(tensor)
            while left and (piece := file.read(min(left, _CHUNK))):
                hasher.update(piece)
                left -= len(piece)
    return hasher.hexdigest()


def data_hash(batches: Batches) -> str:
    """Return a hash of all batches and of how they are cut. Cost: one pass over the data."""
    hasher = hashlib.sha256()
    for feeds in batches:
        for name in sorted(feeds):
            value = np.ascontiguousarray(feeds[name])
            hasher.update(repr((name, value.dtype.name, feeds[name].shape)).encode())
            is_text = value.dtype.hasobject
            flat = value.reshape(-1)
            hasher.update(repr(value.tolist()).encode() if is_text else flat.view(np.uint8).data)
    return hasher.hexdigest()


def options_hash(config: PruneConfig, without: Collection[str]) -> str:
    """Return a hash of all options but those named. Of several patterns the last match wins."""
    fields = values_of(config)
    in_order = {k: list(v.items()) if isinstance(v, dict) else v for k, v in fields.items()}
    return digest({name: value for name, value in in_order.items() if name not in without})
