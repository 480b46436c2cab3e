"""Writes a model as C files for a microcontroller, and tells what they take and cost there."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

from onnx_lobs.data.inputs import input_specs
from onnx_lobs.errors import ConfigError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.c_export import CRecord
from onnx_lobs.run.calibration_data import open_calibration
from onnx_lobs.storage.expand import expand_weights
from onnx_lobs.targets.c.emit import write_files
from onnx_lobs.targets.c.text import identifier
from onnx_lobs.verbs.c_code import CWanted, c_record, make_code, network_for


def export_c(
    model: Path,
    folder: Path,
    *,
    data: Any = None,
    wanted: CWanted | None = None,
    config: PruneConfig | None = None,
    overwrite: bool = False,
) -> CRecord:
    """Write a model as C99: a source, a header, and samples with a program that checks them.

    Parameters
    ----------
    model
        An ONNX file, whose weights may be packed or int8. Not modified.
    folder
        Where the files go; made if it is not there.
    data
        Samples, as for :func:`onnx_lobs.prune`; None: what lies beside the model, else made up.
    wanted
        How the code is made, and the part to compare with; None: the defaults.
    config
        Says how many samples are read, and the shapes of inputs with open axes.
    overwrite
        Whether files of the same names are replaced.

    Raises
    ------
    ConfigError
        A file exists, or an input has open axes and no shape.
    ModelError
        The model cannot be read, or a node has no C code; it is named.
    DataError, InferenceError
        The data do not fit, or a value has an empty or infinite range on them.
    """
    config, wanted = config or PruneConfig(), wanted or CWanted()
    loaded = load_model(model)
    expand_weights(loaded, to_float=True)
    specs = input_specs(loaded.proto)
    if not specs:
        raise ConfigError("the model takes no input; there is nothing to compute on a device")
    batches, warnings = open_calibration(loaded.path, specs, data, config)
    warnings += batches.notes
    check_folder(folder, identifier(model.stem), overwrite=overwrite)
    network = network_for(loaded, batches, config)
    code = make_code(network, batches, config, wanted, model.stem, model.name)
    paths = write_files(code.files, folder)
    return c_record(code, wanted, batches, model, folder, paths, warnings)


def check_folder(folder: Path, name: str, *, overwrite: bool) -> None:
    """Refuse a folder in which files of a network stand already, or that is none.

    Raises
    ------
    ConfigError
        It does, or is none.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{str(folder)!r} is no folder; name another with -o")
    there = [p.name for p in chain(*(folder.glob(f"{name}{end}") for end in (".c", ".h", "_*")))]
    if there and not overwrite:
        raise ConfigError(
            f"{str(folder)!r} holds {', '.join(sorted(there))}; name another folder with -o, or "
            "give --overwrite"
        )
