"""Makes the names in a model text: protobuf in C++ reads names that are no UTF-8, Python cannot.

Such names come from exporters that write Latin-1 or cut a name in the middle of a character.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from onnx import ModelProto

from onnx_lobs.errors import ModelError

_TENSOR = "onnx.TensorProto"
_ENTRY = "onnx.StringStringEntryProto"
_PROSE = "doc_string"


def make_names_text(proto: ModelProto) -> None:
    """Replace every name that is not UTF-8 by one that is, the same everywhere, in place.

    Doc strings and metadata only describe, and stay as they are byte for byte.

    Parameters
    ----------
    proto
        Changed in place; not at all where all names are UTF-8, as the standard wants it.

    Raises
    ------
    ModelError
        An input or output of the model has such a name, by which programs call it.

    Notes
    -----
    Cost: one walk over the model without the values of its tensors.
    """
    for info in (*proto.graph.input, *proto.graph.output):
        if isinstance(info.name, bytes):
            raise ModelError(
                f"the model has an input or output with the name {info.name!r}, which is not "
                "UTF-8, so onnxruntime cannot be asked for it; rename it"
            )
    broken = [place for place in _texts(proto) if isinstance(place[3], bytes)]
    if not broken:
        return
    taken = {text for *_, text in _texts(proto) if isinstance(text, str)}
    names: dict[bytes, str] = {}
    for message, field, index, text in broken:
        if text not in names:
            names[text] = _new_name(text, taken)
        if index is None:
            setattr(message, field, names[text])
        else:
            getattr(message, field)[index] = names[text]


def _new_name(broken: bytes, taken: set[str]) -> str:
    """Return a name that nothing has: with the bytes that are no UTF-8 written as ``\\xff``."""
    name = broken.decode("utf-8", "backslashreplace")
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _texts(message: Any) -> Iterator[tuple[Any, str, int | None, Any]]:
    """Yield every name below a message: who holds it, in which field, at which index, and it."""
    if message.DESCRIPTOR.full_name == _TENSOR:  # whose other fields may hold gigabytes
        yield message, "name", None, message.name
        return
    for field, value in message.ListFields():
        if field.name == _PROSE:
            continue
        is_list = not isinstance(value, (str, bytes)) and hasattr(value, "__len__")
        if field.type == FieldDescriptor.TYPE_STRING:
            if is_list:
                yield from ((message, field.name, i, text) for i, text in enumerate(value))
            else:
                yield message, field.name, None, value
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type.full_name != _ENTRY:
            for inner in value if is_list else (value,):
                yield from _texts(inner)
