"""Tells in which external file a tensor's bytes lie; only files of the model's folder are named."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from onnx import TensorProto as Tensor

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.regular import shown

_DIGITS = 18  # of a place in a file: more than any file has, and less than int64 ends at


@dataclass(frozen=True)
class ExternalRef:
    """Where a tensor's bytes lie: file relative to the model, first byte, number of bytes.

    ``length`` is None where the model does not state it.
    """

    location: str
    offset: int
    length: int | None


def is_external(tensor: Tensor) -> bool:
    """Whether the values lie in an external file now."""
    return bool(tensor.data_location == Tensor.EXTERNAL)


def external_ref(tensor: Tensor) -> ExternalRef | None:
    """Return the external file that a tensor lies in, or, once written to, belongs in.

    Returns
    -------
    ExternalRef or None
        None where the tensor is and was inside the model. See
        :func:`onnx_lobs.graph.files.tensors.write_tensor`.

    Raises
    ------
    ModelError
        The entries hold no location, or an offset or length that is no count.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    for text in (*entries, *entries.values()):
        if isinstance(text, bytes):
            raise ModelError(
                f"tensor {tensor.name!r} has the external entry {text[:40]!r}, which is not UTF-8; "
                "export the model again"
            )
    if "location" not in entries:
        if is_external(tensor):
            raise ModelError(
                f"tensor {tensor.name!r} is external but names no location; export the model again"
            )
        return None
    counts = {key: entries[key] for key in ("offset", "length") if key in entries}
    for key, text in counts.items():
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
            raise ModelError(
                f"tensor {tensor.name!r} has external {key} {text[:40]!r}, which is no count of "
                f"bytes of at most {_DIGITS} digits; export the model again"
            )
    length = int(counts["length"]) if "length" in counts else None
    return ExternalRef(entries["location"], int(counts.get("offset", 0)), length)


def external_path(tensor: Tensor, folder: Path | None) -> Path:
    """Return the path of the file that holds an external tensor's bytes.

    Raises
    ------
    ModelError
        There is no folder, or the location is absolute or leaves the folder.
    """
    ref = external_ref(tensor)
    if ref is None or folder is None:
        raise ModelError(
            f"tensor {tensor.name!r} lies in an external file and the folder of the model is "
            "unknown; pass the path of the model file"
        )
    if "\0" in ref.location:
        raise ModelError(
            f"tensor {tensor.name!r} has the external location {ref.location[:80]!r}, which no "
            "file can have; export the model again"
        )
    location = Path(os.fsdecode(ref.location.encode()))  # as the file system's encoding has it
    windows = PureWindowsPath(ref.location)
    if location.is_absolute() or windows.drive or windows.root:
        raise ModelError(
            f"tensor {tensor.name!r} has the absolute external location {ref.location!r}; only "
            "locations relative to the model's folder are read: export the model again"
        )
    path = folder / location
    if not _resolved(path, tensor).is_relative_to(_resolved(folder, tensor)):
        raise ModelError(
            f"tensor {tensor.name!r} has the external location {ref.location!r}, outside the "
            f"model's folder {folder}; put the data file itself, no link, into that folder"
        )
    return path


def _resolved(path: Path, tensor: Tensor) -> Path:
    """Return where a path leads to in the end."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # too long; a circle of links, in older Pythons
        raise ModelError(
            f"tensor {tensor.name!r} lies in {shown(path)}, which leads nowhere "
            f"({type(error).__name__}); put the data file itself beside the model"
        ) from error
