"""From the solved model to a file that was checked, run and compared before it got its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from onnx_lobs.arrays import Array
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.files.sizes import Sizes, file_sizes
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable, unseeded
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.staged import Runnable, open_session
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.patterns import parse_pattern
from onnx_lobs.run.slots import wanted_sparsity
from onnx_lobs.run.workspace import Workspace
from onnx_lobs.storage.formats import FORMATS

PROVENANCE = "onnx_lobs"
# The written graph fuses differently from the execution copy (Constant nodes, biases), so sums
# are rounded in another order: some 1e-6 of the largest output in float32, 1e-3 in half
# precision, a hundred times more is a different model.
SAME_OUTPUT = {"float16": 3e-2, "bfloat16": 3e-2, "float32": 1e-3, "float64": 1e-3}


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
    FORMATS[work.config.storage].encode(proto, storable_names(work), work.result.folder)
    feeds = next(iter(work.batches))
    limit = work.room.weights
    expected = open_session(work.pruned, provider=work.provider, limit=limit).run(feeds)

    def verify(path: Path) -> None:
        _check(path, feeds, expected, work.provider, limit)

    save_model(proto, output, folder=work.result.folder, overwrite=overwrite, verify=verify)
    return file_sizes(source, output)


def storable_names(work: Workspace) -> list[str]:
    """Return the weights that a storage format may store in its own way."""
    return [layer.weight for layer in work.layers if layer.scope == 0]


def _check(
    path: Path,
    feeds: dict[str, Array],
    expected: dict[str, Array],
    provider: str,
    limit: int,
) -> None:
    """Load the file as a user's program would, run it, and compare.

    A model with more than `limit` bytes of weights is loaded as a whole, but run in stages.
    """
    loaded = load_model(path)
    is_large = external_bytes(loaded.proto) > limit
    executable, note = to_executable(loaded.proto, loaded.folder, provider, light=is_large)
    found: Runnable
    if is_large:
        if note is None:
            Session(path, provider=provider, light=True)
        found = open_session(Model(executable, loaded.folder), provider=provider, limit=limit)
    else:
        is_as_stored = note is None and not unseeded(loaded.proto)
        source = path if is_as_stored else executable
        found = Session(source, folder=loaded.folder, provider=provider)
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
