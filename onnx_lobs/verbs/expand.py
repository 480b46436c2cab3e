"""Expands a model that onnx-lobs packed: dense weights, bit for bit, in a file of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx_lobs.errors import ModelError
from onnx_lobs.graph.files.load import load_model, parse_model, read_file
from onnx_lobs.graph.files.outputs import check_output, model_files
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.files.walk import iter_graphs
from onnx_lobs.graph.run.session import Session
from onnx_lobs.storage.expand import expand_weights


@dataclass(frozen=True)
class Expansion:
    """What was expanded: counts of weights that were sparse, packed, int8 or float16; bytes."""

    output: str
    sparse: int
    packed: int
    widened: int
    n_bytes: int


def expand_file(
    path: Path, output: Path, *, to_float: bool = False, overwrite: bool = False
) -> Expansion:
    """Write the model at `path` with dense weights to `output`, loaded before it gets that name.

    Parameters
    ----------
    path
        A model with sparse or packed weights, or with int8 or float16 values. Not modified.
    to_float
        Whether int8 and float16 values become what the model makes of them; else they stay in
        dense tensors of their own.

    Raises
    ------
    ConfigError
        When the output exists and may not be overwritten, or cannot be written.
    ModelError
        When the file cannot be read, or holds nothing to expand.
    InferenceError
        When a weight cannot be unpacked: the file was changed since it was written.
    """
    check_output(output, inputs=model_files(path), overwrite=overwrite)
    graphs = iter_graphs(parse_model(read_file(path), str(path)))
    n_sparse = sum(len(graph.sparse_initializer) for graph in graphs)
    loaded = load_model(path)
    found = expand_weights(loaded, to_float=to_float)
    if not (n_sparse or found.unpacked or found.widened):
        more = "" if to_float else "; values that are int8 or float16 take --values fp32"
        raise ModelError(
            f"{path} holds no weight that is sparse or that onnx-lobs packed{more}; there is "
            "nothing to expand"
        )

    def verify(written: Path) -> None:
        load_model(written)
        Session(written, light=True)

    n_bytes = save_model(
        loaded.proto, output, folder=loaded.folder, overwrite=overwrite, verify=verify
    )
    return Expansion(str(output), n_sparse, len(found.unpacked), len(found.widened), n_bytes)
