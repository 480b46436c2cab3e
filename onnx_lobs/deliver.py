"""From the solved model to a file that was checked, run and compared before it got its name."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnx_lobs.config import PruneConfig
from onnx_lobs.encode import encode_sparse
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.load import load_model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.graph.save import model_files, save_model
from onnx_lobs.graph.session import Session
from onnx_lobs.pattern import parse_pattern
from onnx_lobs.workspace import Workspace, wanted_sparsity

PROVENANCE = "onnx_lobs"
# The written graph fuses differently from the execution copy (Constant nodes, biases), so sums
# are rounded in another order: some 1e-6 of the largest output in float32, 1e-3 in half
# precision, a hundred times more is a different model.
SAME_OUTPUT = {"float16": 3e-2, "bfloat16": 3e-2, "float32": 1e-3, "float64": 1e-3}


@dataclass(frozen=True)
class Sizes:
    """Bytes of a model with its external data, (before, after): plain, and as gzip packs it."""

    file_bytes: tuple[int, int]
    gzip_bytes: tuple[int, int]


def stamp(proto: onnx.ModelProto, config: PruneConfig) -> None:
    """Leave a short provenance in the metadata, in place; every other entry stays."""
    from onnx_lobs import __version__

    text = (
        f"{__version__} method={config.method} pattern={config.pattern} "
        f"sparsity={wanted_sparsity(config, parse_pattern(config.pattern)):g} "
        f"allocation={config.allocation} seed={config.seed}"
    )
    entry = next((p for p in proto.metadata_props if p.key == PROVENANCE), None)
    if entry is None:
        entry = proto.metadata_props.add()
        entry.key = PROVENANCE
    entry.value = text


def write_model(work: Workspace, source: Path, output: Path, *, overwrite: bool) -> Sizes:
    """Write the result of a run and return the sizes of the files.

    Raises
    ------
    ModelError
        When the written file fails the checker, does not load, or computes something else
        than the model in memory; the file then never gets its name.
    """
    proto = work.result.proto
    if work.config.storage == "sparse":
        encode_sparse(proto, [layer.weight for layer in work.layers if layer.scope == 0])
    feeds = next(iter(work.batches))
    session = Session(work.pruned.proto, folder=work.loaded.folder, provider=work.provider)
    expected = session.run(feeds)

    def verify(path: Path) -> None:
        _check(path, feeds, expected, work.provider)

    save_model(proto, output, folder=work.loaded.folder, overwrite=overwrite, verify=verify)
    before, after = model_files(source), model_files(output)
    return Sizes(
        (_size(before), _size(after)),
        (_gzip_size(before), _gzip_size(after)),
    )


def _check(
    path: Path, feeds: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]], provider: str
) -> None:
    """Load the file as a user's program would, run it, and compare."""
    loaded = load_model(path)
    executable, note = to_executable(loaded.proto, loaded.folder, provider)
    found = Session(path if note is None else executable, folder=loaded.folder, provider=provider)
    for name, value in found.run(feeds).items():
        wanted = expected[name]
        tolerance = SAME_OUTPUT.get(getattr(value, "dtype", np.dtype(object)).name)
        if tolerance is None:
            continue
        scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
        same = wanted.shape == value.shape and np.allclose(
            value.astype(np.float64),
            wanted.astype(np.float64),
            rtol=0,
            atol=tolerance * scale,
            equal_nan=True,
        )
        if not same:
            raise ModelError(
                f"the written model's output {name!r} differs from the one in memory by more "
                f"than {tolerance:g} of its largest value; nothing was written. This is a "
                "defect of onnx-lobs: please report it with the model"
            )


def _size(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _gzip_size(files: list[Path]) -> int:
    """Return the bytes that gzip would need, without writing or holding them."""
    total = 0
    for file in files:
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                total += len(packer.compress(piece))
        total += len(packer.flush())
    return total
