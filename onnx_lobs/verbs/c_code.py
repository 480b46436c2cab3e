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
        Axes are open beside that of the batch, nothing was given, and the samples are made up.
    """
    first = next(iter(batches))
    shapes = {name: tuple(shape) for name, shape in given.items()}
    for spec, place in zip(specs, batch_axes(specs), strict=True):
        if spec.name in shapes:
            continue
        shape = first[spec.name].shape if spec.shape is None else spec.shape
        is_known = spec.shape is not None
        sizes = [
            1 if axis == place.axis and not (is_known and (isinstance(size, int) or is_time(size)))
            else size
            for axis, size in enumerate(shape)
        ]  # fmt: skip
        is_open = not is_known or not all(isinstance(size, int) for size in sizes)
        if is_open and batches.synthetic:
            raise ConfigError(
                f"the input {spec.name!r} has open axes, and C code has fixed sizes; give them "
                f"with --input-shape {_example(spec)}, say, or samples with -d"
            )
        seen = first[spec.name].shape
        shapes[spec.name] = tuple(
            size if isinstance(size, int) else seen[axis] for axis, size in enumerate(sizes)
        )
    return shapes


def _example(spec: InputSpec) -> str:
    """Return what a shape of an input may look like on the command line."""
    shape = (1, 3, 224, 224) if spec.shape is None else (1, *spec.shape[1:])
    return f"{spec.name}:{'x'.join(str(d) if isinstance(d, int) else '224' for d in shape)}"


def one_by_one(batches: Batches, network: Network) -> Iterator[Feeds]:
    """Yield every sample as a batch of one, in the shapes of a network.

    What has the network's shape is fed as it is. Anything else is cut along the only axis in which
    it differs, where the network takes one.

    Raises
    ------
    DataError
        The samples have other shapes.
    """
    shapes = {name: network.shapes[name] for name in network.inputs}
    for batch in batches:
        axes = {name: _cut_axis(name, batch[name].shape, shape) for name, shape in shapes.items()}
        cut = {name: axis for name, axis in axes.items() if axis is not None}
        for i in range(min((batch[name].shape[axis] for name, axis in cut.items()), default=1)):
            yield {
                name: batch[name].take([i], axis=cut[name]) if name in cut else batch[name]
                for name in shapes
            }


def _cut_axis(name: str, given: Shape, one: Shape) -> int | None:
    """Return the axis along which samples lie; None: it is one."""
    if given == one:
        return None
    other = [i for i, sizes in enumerate(zip(given, one, strict=False)) if sizes[0] != sizes[1]]
    if len(given) != len(one) or len(other) > 1 or one[other[0]] != 1:
        raise DataError(
            f"a sample of {name!r} has the shape {(1, *given[1:])}, the C code takes {one}; give "
            "samples of one size, or --input-shape"
        )
    return other[0]
