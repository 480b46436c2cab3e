"""Takes a model in whatever form a caller has it: path, bytes, message, file, exporter's result."""

from __future__ import annotations

import os
from collections.abc import Mapping

from onnx import ModelProto

from onnx_lobs.errors import ModelError

ModelSource = str | os.PathLike[str] | bytes | ModelProto

# the library that a class comes from, and what makes ONNX of its objects
_EXPORTERS = {
    "torch": "export it with torch.onnx.export(model, (example,), 'model.onnx', dynamo=True)",
    "tensorflow": "export it with model.export('model.onnx', format='onnx') or tf2onnx",
    "keras": "export it with model.export('model.onnx', format='onnx')",
    "sklearn": "export it with skl2onnx.to_onnx(model, example)",
    "flax": "export it with jax2onnx, or through tf2onnx",
    "onnxruntime": "give the file or the bytes that the session was made from",
    "onnx_ir": "give onnx_ir.to_proto(model)",
}


def as_source(given: object) -> ModelSource:
    """Return a path, the bytes or the message of a model.

    Parameters
    ----------
    given
        One of these; a bytearray or memoryview; an open binary file; or an object with a
        ``model_proto``, as ``torch.onnx.export`` returns, or a ``model``, as prune() does.

    Raises
    ------
    ModelError
        When it is something else; the message says what to do with a model of another library.
    """
    if isinstance(given, str | os.PathLike | bytes | ModelProto):
        return given
    if isinstance(given, bytearray | memoryview):
        return bytes(given)
    for name in ("model_proto", "model"):
        proto = getattr(given, name, None)
        if isinstance(proto, ModelProto):
            return proto
    read = getattr(given, "read", None)
    if callable(read) and isinstance(data := read(), bytes):
        return data
    if isinstance(given, Mapping):
        raise ModelError(
            f"the model given is {_kind(given)}: weights without a network; load them into the "
            "network and export that"
        )
    raise ModelError(f"the model given is {_kind(given)}; {_remedy(given)}")


def _kind(given: object) -> str:
    own = given if isinstance(given, type) else type(given)
    return f"{'the class' if own is given else 'of type'} {own.__module__}.{own.__qualname__}"


def _remedy(given: object) -> str:
    own = given if isinstance(given, type) else type(given)
    for base in own.__mro__:
        library = base.__module__.partition(".")[0]
        if library in _EXPORTERS:
            return _EXPORTERS[library]
    return "give the path of an .onnx file, its bytes, or an onnx.ModelProto"
