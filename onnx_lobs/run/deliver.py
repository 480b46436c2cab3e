"""Writes the solved model to a file that is checked, run and compared before it gets its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from onnx_lobs.arrays import Array, RealArray
from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.files.sizes import Sizes, file_sizes
from onnx_lobs.graph.files.tensors import array_type
from onnx_lobs.graph.files.walk import iter_tensors
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable, unseeded
from onnx_lobs.graph.run.session import Session
from onnx_lobs.graph.run.staged import Runnable, open_session
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.stored_form import encode_result

PROVENANCE = "onnx_lobs"
# The written graph fuses differently from the execution copy (Constant nodes, biases), so sums
# are rounded in another order: some 1e-6 of the largest output in float32, 1e-3 in half
# precision, a hundred times more is a different model.
SAME_OUTPUT = {"float16": 3e-2, "bfloat16": 3e-2, "float32": 1e-3, "float64": 1e-3}


def stamp(proto: onnx.ModelProto, setup: Setup) -> None:
    """Leave a short provenance in the metadata, in place; every other entry stays."""
    from onnx_lobs import __version__

    config = setup.config
    text = (
        f"{__version__} method={config.method} pattern={config.pattern} "
        f"sparsity={setup.sparsity:g} "
        f"allocation={config.allocation} seed={config.seed}"
    )
    if config.retrain is not None:
        text += f" retrain={config.retrain}"
    if config.retrain_sparsity is not None:
        text += f" retrain_sparsity={config.retrain_sparsity:g}"
    if config.channels is not None:
        text += f" channels={config.channels:g}"
    entry = next((p for p in proto.metadata_props if p.key == PROVENANCE), None)
    if entry is None:
        entry = proto.metadata_props.add()
        entry.key = PROVENANCE
    entry.value = text


def best_effort(output: Path) -> Path:
    """Return the name of a file that misses the target it was made for."""
    return output.with_name(f"{output.stem}_best_effort{output.suffix}")


def write_model(
    setup: Setup,
    networks: Networks,
    scales: Mapping[str, RealArray],
    source: Path,
    output: Path,
    *,
    overwrite: bool,
) -> tuple[Sizes, list[str]]:
    """Write the result of a run and return the sizes of the files, and warnings.

    Parameters
    ----------
    scales
        By the key of the layer: those of which its weights are multiples.

    Raises
    ------
    ModelError
        When the written file fails the checker, does not load, or computes something else
        than the model in memory; the file then never gets its name.
    """
    result, config = networks.result, setup.config
    notes = encode_result(setup, result.proto, result.folder, scales)
    feeds = next(iter(setup.batches))
    expected = to_compare(networks.pruned, networks.provider, networks.limit).run(feeds)

    def verify(path: Path) -> None:
        check_written(
            path, feeds, expected, networks.provider, networks.limit,
            notes=notes if config.activations == "int8" else None,
        )  # fmt: skip

    save_model(result.proto, output, folder=result.folder, overwrite=overwrite, verify=verify)
    return file_sizes(source, output), notes


def to_compare(model: Model, provider: str, limit: int) -> Runnable:
    """Return what runs a model with int8 weights as the floating numbers that they stand for.

    Else onnxruntime rounds what they are multiplied with to 8 bits, but only where it sees that
    their scales are constant: it computes otherwise where a scale is an input with a default.
    """
    return open_session(model, provider=provider, limit=limit, as_float=True)


def check_written(
    path: Path,
    feeds: dict[str, Array],
    expected: dict[str, Array],
    provider: str,
    limit: int,
    *,
    notes: list[str] | None = None,
) -> None:
    """Load the file, run it with int8 weights as floating numbers, and compare.

    Parameters
    ----------
    expected
        Outputs of the model in memory, by :func:`to_compare`.
    notes
        Takes in words how far the outputs are from the expected ones, where activations are int8;
        nothing is wrong with that then.

    Raises
    ------
    ModelError
        When it fails the checker, does not load, or computes something else than `expected`.
    """
    found, tolerance = _run_written(path, feeds, provider, limit)
    if notes is None:
        _compare(found, expected, tolerance)
    else:
        notes.append(_difference(found, expected))


def _run_written(
    path: Path, feeds: dict[str, Array], provider: str, limit: int
) -> tuple[dict[str, Array], float]:
    """Load the file and run it; return outputs, and a least tolerance.

    A model with more than `limit` bytes of weights is loaded as a whole, but run in stages.
    """
    loaded = load_model(path)
    is_large = external_bytes(loaded.proto) > limit
    executable, note = to_executable(loaded.proto, loaded.folder, provider, light=is_large)
    found: Runnable
    if is_large:
        if note is None:
            Session(path, provider=provider, light=True)
        found = to_compare(Model(executable, loaded.folder), provider, limit)
    else:
        is_as_stored = note is None and not unseeded(loaded.proto)
        source = path if is_as_stored else executable
        found = Session(source, folder=loaded.folder, provider=provider, as_float=True)
    # in memory biases are float32, in the file of their own type
    return found.run(feeds), 0.0 if note is None else _coarsest(loaded.proto)


def _compare(found: dict[str, Array], expected: dict[str, Array], least: float) -> None:
    """Raise ModelError unless the written model gives what the one in memory does."""
    for name, value in found.items():
        wanted = expected[name]
        tolerance = SAME_OUTPUT.get(getattr(value, "dtype", np.dtype(object)).name)
        if tolerance is None:
            continue
        tolerance = max(tolerance, least)
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


def _difference(found: dict[str, Array], expected: dict[str, Array]) -> str:
    """Say how far the outputs of a model that computes in int8 are from the floating ones."""
    pairs = [(found[name], expected[name]) for name in found]
    floating = [
        (one.astype(np.float64), other.astype(np.float64))
        for one, other in pairs
        if getattr(one, "dtype", np.dtype(object)).name in SAME_OUTPUT and one.shape == other.shape
    ]
    squared = sum(float(((one - other) ** 2).sum()) for one, other in floating)
    energy = sum(float((other**2).sum()) for _, other in floating)
    return (
        "the figures are those of floating activations; with int8 ones the outputs differ from "
        f"them by {squared / max(energy, 1e-300):.2g} of their mean square, on one batch: "
        "`onnx-lobs evaluate` tells the score"
    )


def _coarsest(proto: onnx.ModelProto) -> float:
    """Return the tolerance of the coarsest type in which a model stores numbers."""
    types = (array_type(tensor.data_type) for tensor in iter_tensors(proto))
    return max(
        (SAME_OUTPUT.get(dtype.name, 0.0) for dtype in types if dtype is not None), default=0.0
    )
