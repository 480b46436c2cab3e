"""How large model files are, plain and packed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_lobs.graph.files.outputs import model_files

MOST_GZIP = 1 << 30  # bytes of a file that is packed to see how small it gets


@dataclass(frozen=True)
class Sizes:
    """Bytes of a model with its external data, (before, after): plain, and as gzip packs it.

    The latter is None where it would take minutes to find out.
    """

    file_bytes: tuple[int, int]
    gzip_bytes: tuple[int, int] | None


def file_sizes(before: Path, after: Path) -> Sizes:
    """Return the sizes of two model files with their external data.

    Notes
    -----
    Cost: packing takes some 30 s per GB; files beyond :data:`MOST_GZIP` are not packed.
    """
    files = model_files(before), model_files(after)
    plain = _size(files[0]), _size(files[1])
    if max(plain) > MOST_GZIP:
        return Sizes(plain, None)
    return Sizes(plain, (_gzip_size(files[0]), _gzip_size(files[1])))


def _size(files: Sequence[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _gzip_size(files: Sequence[Path]) -> int:
    """Return the bytes that gzip would need, without writing or holding them."""
    total = 0
    for file in files:
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                total += len(packer.compress(piece))
        total += len(packer.flush())
    return total
