"""Writes the result of a run that ended before, as the run itself would have written it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnx_lobs.arrays import Array, RealArray
from onnx_lobs.graph.files.external import external_bytes
from onnx_lobs.graph.files.outputs import check_output, model_files
from onnx_lobs.graph.files.save import save_model
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.normalise import to_executable
from onnx_lobs.run.deliver import check_written, to_compare
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.stored_form import table_values, weight_values
from onnx_lobs.storage.formats import find_format
from onnx_lobs.storage.values import VALUES, WeightValues, encode_values


@dataclass(frozen=True, eq=False, repr=False)
class Delivery:
    """What it takes to write a result later.

    Parameters
    ----------
    storage
        Name of the format; None: dense.
    values
        Name of the kind of values.
    weights
        Those whose values are stored so, and which the format may store in its own way.
    tables
        Those whose rows are stored so, which the format leaves alone.
    sparse
        What the model's file held sparse, which the format may store so too.
    feeds
        One batch, on which the written file is compared with the model in memory.
    provider, limit
        As in :class:`~onnx_lobs.run.networks.Networks`.
    source
        The file that was pruned, or None.
    """

    storage: str | None
    values: str
    weights: tuple[WeightValues, ...]
    tables: tuple[WeightValues, ...]
    sparse: tuple[str, ...]
    feeds: Mapping[str, Array]
    provider: str
    limit: int
    source: Path | None


def plan_delivery(setup: Setup, networks: Networks, scales: Mapping[str, RealArray]) -> Delivery:
    """Return what it takes to write the result of a run later. The networks are not kept."""
    return Delivery(
        setup.config.storage,
        setup.config.values,
        tuple(weight_values(setup, networks.result, scales)),
        tuple(table_values(setup, networks.result, scales)),
        tuple(setup.loaded.sparse),
        next(iter(setup.batches)),
        networks.provider,
        networks.limit,
        setup.loaded.path,
    )


def deliver(
    proto: onnx.ModelProto,
    folder: Path | None,
    delivery: Delivery,
    output: Path,
    *,
    overwrite: bool,
) -> None:
    """Write a model under a temporary name, check it, run it, compare it, and give it its name.

    Parameters
    ----------
    proto, folder
        The result, and where its external data lie. Not modified.
    delivery
        From :func:`plan_delivery`.
    output
        The file.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    ConfigError
        The file exists and may not be overwritten, is the model that was pruned, or cannot be
        written.
    ModelError
        As :func:`onnx_lobs.run.deliver.write_model`.
    """
    source = delivery.source
    inputs = [] if source is None or not source.exists() else model_files(source)
    check_output(output, inputs=inputs, overwrite=overwrite)
    provider, limit, feeds = delivery.provider, delivery.limit, dict(delivery.feeds)
    is_large = external_bytes(proto) > limit
    executable, _ = to_executable(proto, folder, provider, light=is_large)
    expected = to_compare(Model(executable, folder), provider, limit).run(feeds)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    both = (*delivery.weights, *delivery.tables)
    held = encode_values(copy, both, VALUES[delivery.values], folder)
    names = list(dict.fromkeys([*held, *delivery.sparse]))
    find_format(delivery.storage).encode(copy, names, folder)

    def verify(path: Path) -> None:
        check_written(path, feeds, expected, provider, limit)

    save_model(copy, output, folder=folder, overwrite=overwrite, verify=verify)
