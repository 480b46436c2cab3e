"""Makes C code of a loaded model and samples, and tells what it takes; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from onnx_lobs import __version__
from onnx_lobs.arrays import Feeds
from onnx_lobs.data.batch_axis import batch_axes, is_time
from onnx_lobs.data.batches import Batches
from onnx_lobs.data.inputs import InputSpec, input_specs
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.graph.files.load import LoadedModel
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.report.c_export import CRecord
from onnx_lobs.targets.c.agreement import Agreement, compare
from onnx_lobs.targets.c.emit import CFiles
from onnx_lobs.targets.c.export import CExport, export_c
from onnx_lobs.targets.c.network import Network, Shape, read_network
from onnx_lobs.targets.c.text import identifier
from onnx_lobs.targets.chips import Chip, judge_fit

COMPARED_SAMPLES = 64


@dataclass(frozen=True)
class CWanted:
    """How C code is made.

    Parameters
    ----------
    values
        ``int8`` or ``fp32``: weights and activations.
    optimise
        ``speed`` or ``size``: how weights are stored.
    ranges
        ``minmax``, ``percentile`` or ``entropy``: what of the values seen the 8-bit grids hold.
    chip
        A part to compare with, or None.
    """

    values: str = "int8"
    optimise: str = "speed"
    ranges: str = "minmax"
    chip: Chip | None = None


@dataclass(frozen=True, eq=False)
class CMade:
    """C code, and how far it is from the network in float32: None in float32."""

    made: CExport
    agreement: Agreement | None

    @property
    def files(self) -> CFiles:
        """The files."""
        return self.made.files

    @property
    def flash_bytes(self) -> int:
        """Constants and code."""
        return self.files.table_bytes + self.files.code_bytes


def network_for(loaded: LoadedModel, batches: Batches, config: PruneConfig) -> Network:
    """Return a model for one sample, in the shapes that were given or that samples have.

    Raises
    ------
    ConfigError, ModelError
        As :func:`onnx_lobs.targets.c.network.read_network`.
    """
    return read_network(loaded, _shapes(input_specs(loaded.proto), batches, config.input_shapes))


def make_code(
    network: Network, batches: Batches, config: PruneConfig, wanted: CWanted, stem: str, title: str
) -> CMade:
    """Return the C code of a network.

    Parameters
    ----------
    stem, title
        What the files are called, and what the network is.

    Raises
    ------
    ModelError
        A node has no C code; it is named.
    DataError, InferenceError
        The data do not fit, or a value has an empty or infinite range on them.
    """
    made = export_c(
        network,
        one_by_one(batches, network),
        name=identifier(stem),
        title=title,
        version=__version__,
        values=wanted.values,
        optimise=wanted.optimise,
        ranges=wanted.ranges,
        most_samples=config.samples or batches.n_samples,
    )
    agreement = None
    if wanted.values == "int8":
        samples = islice(one_by_one(batches, network), COMPARED_SAMPLES)
        agreement = compare(network, made.program, samples)
    return CMade(made, agreement)


def c_record(
    code: CMade,
    wanted: CWanted,
    batches: Batches,
    model: Path,
    folder: Path,
    files: Sequence[Path],
    warnings: Sequence[str],
) -> CRecord:
    """Return the record of C code that was written."""
    made, chip = code.files, wanted.chip
    return CRecord(
        str(model),
        str(folder),
        tuple(path.name for path in files),
        wanted.values,
        wanted.optimise,
        wanted.ranges,
        made.table_bytes,
        made.code_bytes,
        made.ram_bytes,
        made.io_bytes,
        code.made.program.multiplications,
        batches.origin,
        batches.n_samples,
        code.agreement,
        chip,
        None if chip is None else judge_fit(chip, code.flash_bytes, made.ram_bytes),
        tuple(warnings),
    )


def _shapes(
    specs: tuple[InputSpec, ...], batches: Batches, given: Mapping[str, Shape]
) -> dict[str, Shape]:
    """Return the shapes of inputs for one sample: what was given, else that of the samples.

    Raises
    ------
    ConfigError
        Nothing was given, and axes are open beside that of the batch and the samples are made up,
        or samples were cut along time.
    """
    first = next(iter(batches))
    shapes = {name: tuple(shape) for name, shape in given.items()}
    for spec, place in zip(specs, batch_axes(specs), strict=True):
        if spec.name in shapes:
            continue
        seen = first[spec.name].shape
        told = (None,) * len(seen) if spec.shape is None else spec.shape
        sizes = [
            1 if axis == place.axis and _may_count(size) else size for axis, size in enumerate(told)
        ]
        if batches.synthetic and not all(isinstance(size, int) for size in sizes):
            raise ConfigError(
                f"the input {spec.name!r} has open axes, and C code has fixed sizes; give them "
                f"with --input-shape {_example(spec.name, sizes)}, say, or samples with -d"
            )
        if place.axis is not None and is_time(told[place.axis]):
            _check_whole(spec.name, told[place.axis], batches)
        shapes[spec.name] = tuple(
            size if isinstance(size, int) else seen[axis] for axis, size in enumerate(sizes)
        )
    return shapes


def _check_whole(name: str, time: int | str | None, batches: Batches) -> None:
    """Refuse batches that were cut along an axis of time: none has all steps of a sample."""
    if batches.recut is not None and len(batches) > 1:
        raise ConfigError(
            f"the data of {name!r} were cut into {len(batches)} batches along {time!r}, which is "
            "named as time; stack whole samples along an axis in front of it, or say with "
            "--input-shape how many steps the C code takes"
        )


def _may_count(size: int | str | None) -> bool:
    """Whether an axis may count samples: it is open, and not named as one of time."""
    return not isinstance(size, int) and not is_time(size)


def _example(name: str, sizes: Sequence[int | str | None]) -> str:
    """Return what the shape of an input may look like on the command line."""
    return f"{name}:{'x'.join(str(size) if isinstance(size, int) else '224' for size in sizes)}"


def one_by_one(batches: Batches, network: Network) -> Iterator[Feeds]:
    """Yield every sample as a batch of one, in the shapes of a network.

    What has the network's shape is fed as it is. Anything else is cut along the axis that has as
    many places as the batch has samples, where the network takes one.

    Raises
    ------
    DataError
        The samples have other shapes.
    """
    shapes = {name: network.shapes[name] for name in network.inputs}
    for batch, n in zip(batches, batches.sizes, strict=True):
        axes = {name: _cut_axis(name, batch[name].shape, one, n) for name, one in shapes.items()}
        cut = {name: axis for name, axis in axes.items() if axis is not None}
        for i in range(n if cut else 1):
            yield {
                name: batch[name].take([i], axis=cut[name]) if name in cut else batch[name]
                for name in shapes
            }


def _cut_axis(name: str, given: Shape, one: Shape, n: int) -> int | None:
    """Return the axis along which the `n` samples of a batch lie; None: it is fed whole."""
    if given == one:
        return None
    pairs = enumerate(zip(given, one, strict=False))
    axis = next((axis for axis, sizes in pairs if sizes == (n, 1)), None)
    sample = given if axis is None else (*given[:axis], 1, *given[axis + 1 :])
    if sample != one:
        raise DataError(
            f"a sample of {name!r} has the shape {sample}, the C code takes {one}; give "
            "samples of one size, or --input-shape"
        )
    return axis
