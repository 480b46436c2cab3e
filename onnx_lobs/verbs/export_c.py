"""Writes a model as C files for a microcontroller, and tells what they take and cost there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from onnx_lobs import __version__
from onnx_lobs.arrays import Feeds
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec, input_specs
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.c_export import CRecord
from onnx_lobs.run.calibration_data import open_calibration
from onnx_lobs.targets.c.agreement import compare
from onnx_lobs.targets.c.emit import identifier, write_files
from onnx_lobs.targets.c.export import export_c as make_c
from onnx_lobs.targets.c.network import Network, Shape, read_network
from onnx_lobs.targets.chips import Chip, judge_fit

COMPARED_SAMPLES = 64


def export_c(
    model: Path,
    folder: Path,
    *,
    data: Any = None,
    values: str = "int8",
    optimise: str = "speed",
    ranges: str = "minmax",
    chip: Chip | None = None,
    config: PruneConfig | None = None,
    overwrite: bool = False,
) -> CRecord:
    """Write a model as C99: a source, a header, and samples with a program that checks them.

    Parameters
    ----------
    model
        An ONNX file. Not modified.
    folder
        Where the files go; made if it is not there.
    data
        Samples, as for :func:`onnx_lobs.prune`; None: what lies beside the model, else made up.
    values
        ``int8`` or ``fp32``: weights and activations.
    optimise
        ``speed`` or ``size``: how weights are stored.
    ranges
        ``minmax``, ``percentile`` or ``entropy``: what of the values seen the 8-bit grids hold.
    chip
        A part to compare with.
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
    config = config or PruneConfig()
    loaded = load_model(model)
    specs = input_specs(loaded.proto)
    if not specs:
        raise ConfigError("the model takes no input; there is nothing to compute on a device")
    batches, warnings = open_calibration(loaded.path, specs, data, config)
    warnings += batches.notes
    network = read_network(loaded, _shapes(specs, batches, config.input_shapes))
    name = identifier(model.stem)
    _check_folder(folder, name, overwrite=overwrite)
    about = {"name": name, "title": model.name, "version": __version__}
    made = make_c(
        network,
        one_by_one(batches, network),
        values=values,
        optimise=optimise,
        ranges=ranges,
        most_samples=config.samples or batches.n_samples,
        **about,
    )
    compared = None
    if values == "int8":
        samples = islice(one_by_one(batches, network), COMPARED_SAMPLES)
        compared = compare(network, made.program, samples)
    paths = write_files(made.files, folder)
    files = made.files
    fit = None
    if chip is not None:
        fit = judge_fit(chip, files.table_bytes + files.code_bytes, files.ram_bytes)
    return CRecord(
        str(model),
        str(folder),
        tuple(path.name for path in paths),
        values,
        optimise,
        ranges,
        files.table_bytes,
        files.code_bytes,
        files.ram_bytes,
        files.io_bytes,
        made.program.multiplications,
        batches.origin,
        batches.n_samples,
        compared,
        chip,
        fit,
        tuple(warnings),
    )


def _shapes(
    specs: tuple[InputSpec, ...], batches: Batches, given: Mapping[str, Shape]
) -> dict[str, Shape]:
    """Return the shapes of inputs with open axes: what was given, else that of the samples."""
    first = next(iter(batches))
    shapes = {}
    for spec in specs:
        shape = given.get(spec.name)
        if shape is None:
            is_open = spec.shape is None or any(not isinstance(d, int) for d in spec.shape[1:])
            shape = (1, *first[spec.name].shape[1:]) if is_open else None
        if shape is not None:
            shapes[spec.name] = tuple(shape)
    return shapes


def one_by_one(batches: Batches, network: Network) -> Iterator[Feeds]:
    """Yield every sample as a batch of one, in the shapes of a network.

    Raises
    ------
    DataError
        The samples have other shapes.
    """
    shapes = {name: network.shapes[name] for name in network.inputs}
    for batch in batches:
        whole = all(batch[name].shape == shape for name, shape in shapes.items())
        size = 1 if whole else min(len(batch[name]) for name in shapes)
        for i in range(size):
            feeds = {n: batch[n] if whole else batch[n][i : i + 1] for n in shapes}
            for name, shape in shapes.items():
                if feeds[name].shape != shape:
                    raise DataError(
                        f"a sample of {name!r} has the shape {feeds[name].shape}, the C code takes "
                        f"{shape}; give samples of one size, or --input-shape"
                    )
            yield feeds


def _check_folder(folder: Path, name: str, *, overwrite: bool) -> None:
    """Refuse a folder in which files of a network stand already, or that is none."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{str(folder)!r} is no folder; name another with -o")
    there = [p.name for p in chain(*(folder.glob(f"{name}{end}") for end in (".c", ".h", "_*")))]
    if there and not overwrite:
        raise ConfigError(
            f"{str(folder)!r} holds {', '.join(sorted(there))}; name another folder with -o, or "
            "give --overwrite"
        )
