"""Prune on few samples, and compare what the report says with what fresh samples show.

    python tools/zoo.py --out ZOO
    python tools/bench_few_samples.py [--zoo ZOO] [--more FOLDER] [--only NAME,...]

Every network is pruned on the first samples of a random order of its calibration data, with zeros
shared evenly; the error on fresh samples is measured by onnxruntime here, not by the package. Files
that are not there are left out. Results are added to ``tools/results/few_samples.json`` row by row,
and ``few_samples.md`` is written from that. FOLDER may hold ``dy_seresnet.onnx`` and
``dy_vit_op23.onnx``, exported networks of random weights, for which noise in the range of
normalised images is made up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from kept_rows import load_rows, save_rows

import onnx_lobs
from onnx_lobs.arrays import Array

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "few_samples.json"
MNIST = HERE.parent / "models" / "mnist"
SIZES = (1, 3, 10, 30, 60, 100)
FRESH = 200
BATCH = 25
MEAN, SPREAD = np.float32(0.45), np.float32(0.225)  # of normalised images, about

Feeds = dict[str, Array]


@dataclass(frozen=True)
class Network:
    """A network of the table: where it is, how many zeros it gets, with which other options."""

    name: str
    path: Path
    data: Path | None
    sparsity: float
    sizes: tuple[int, ...] = SIZES
    fresh: int = FRESH
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What was reported on so many samples, and what others showed."""

    network: str
    sparsity: float
    samples: int
    reported: float | None
    fitted: float | None
    n_fits: int
    fresh: float
    magnitude: float
    seconds: float


def networks(zoo: Path, more: Path) -> list[Network]:
    """Return the networks of the table."""
    quick = {"method": "sparsegpt"}
    mnist = MNIST / "calibration.npz"
    return [
        Network("LeNet-300-100", MNIST / "lenet-300-100.onnx", mnist, 0.8),
        Network("LeNet-5", MNIST / "lenet-5.onnx", mnist, 0.8),
        Network("MiniLM-L3, sparsegpt", zoo / "minilm-l3.onnx", zoo / "minilm-l3_calibration.npz",
                0.6, (1, 3, 10, 30), 100, quick),
        Network("PP-OCR classifier", zoo / "ppocr-cls.onnx", zoo / "ppocr-cls_calibration.npz",
                0.5, (1, 3, 10, 30), 60),
        Network("SE-ResNet, random weights", more / "dy_seresnet.onnx", None, 0.8,
                (1, 3, 10, 30)),  # it has 59.5 % zeros, which count
        Network("ViT, random weights", more / "dy_vit_op23.onnx", None, 0.6, (1, 3, 10, 30)),
    ]  # fmt: skip


def samples(network: Network) -> tuple[Feeds, Feeds]:
    """Return the samples to prune on, in a random order, and the fresh ones."""
    rng = np.random.default_rng(0)
    if network.data is None:
        value = onnx.load(network.path, load_external_data=False).graph.input[0]
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        pixels = rng.random((max(network.sizes) + network.fresh, *shape), np.float32)
        arrays = {value.name: (pixels - MEAN) / SPREAD}
    else:
        arrays = dict(floats(network.data))
    n = len(next(iter(arrays.values())))
    order = rng.permutation(n - network.fresh)
    fresh = {name: array[-network.fresh :] for name, array in arrays.items()}
    return {name: array[order] for name, array in arrays.items()}, fresh


def floats(path: Path) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of an npz by name, scaled as it says."""
    stored = np.load(path)
    for name in stored.files:
        if name != "label" and not name.endswith((".scale", ".offset")):
            array = stored[name]
            if f"{name}.scale" in stored:
                array = array.astype(np.float32) * stored[f"{name}.scale"].astype(np.float32)
            if f"{name}.offset" in stored:
                array = array + stored[f"{name}.offset"].astype(np.float32)
            yield name, array


def outputs(model: str | bytes, feeds: Feeds) -> list[Array]:
    """Return what onnxruntime makes of the samples: the floating outputs, by batch."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    known = {value.name for value in session.get_inputs()}
    n = len(next(iter(feeds.values())))
    found: list[Array] = []
    for i in range(0, n, BATCH):
        part = {k: v[i : i + BATCH] for k, v in feeds.items() if k in known}
        found += [value for value in session.run(None, part) if value.dtype.kind == "f"]
    return found


def error(pruned: onnx_lobs.PruneResult, dense: list[Array], fresh: Feeds, folder: Path) -> float:
    """Return the relative squared error of a pruned network's outputs on fresh samples."""
    path = folder / "few_samples.tmp.onnx"
    onnx.save_model(onnx.load_from_string(pruned.model.SerializeToString()), path)
    try:
        found = outputs(str(path), fresh)
    finally:
        path.unlink()
    changes = sum(float(np.square(a - b).sum()) for a, b in zip(found, dense, strict=True))
    return changes / sum(float(np.square(b).sum()) for b in dense)


def measure(network: Network, done: set[tuple[str, int]]) -> Iterator[Row]:
    """Yield a row for each number of samples that is not done yet."""
    pool, fresh = samples(network)
    model = inside(network.path)
    dense = outputs(model.SerializeToString(), fresh)
    even = {"sparsity": network.sparsity, "allocation": "uniform"}
    bare = {**even, "method": "magnitude", "refit": False, "correct": False}
    few = {name: array[:16] for name, array in pool.items()}
    magnitude = error(onnx_lobs.prune(model, few, **bare), dense, fresh, RESULTS.parent)
    for n in network.sizes:
        if (network.name, n) in done:
            continue
        started = time.perf_counter()
        part = {name: array[:n] for name, array in pool.items()}
        result = onnx_lobs.prune(model, part, **even, **network.options)
        seconds = time.perf_counter() - started
        told = result.report.output
        yield Row(
            network.name, network.sparsity, n, told.error, told.fitted_error, told.n_fits,
            error(result, dense, fresh, RESULTS.parent), magnitude, round(seconds, 1),
        )  # fmt: skip


def inside(path: Path) -> onnx.ModelProto:
    """Return the model with what lies in other files, in front of a final Softmax if it has one."""
    model = onnx.load(path)
    last = next(n for n in model.graph.node if model.graph.output[0].name in n.output)
    if last.op_type in ("Softmax", "Sigmoid"):  # as the package judges it
        kind = model.graph.output[0].type.tensor_type.elem_type
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(last.input[0], kind, None))
        model.graph.node.remove(last)
    return model


def page(rows: list[Row]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| network | zeros | samples | fresh error | magnitude | reported | reported / fresh |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row.network, row.samples)):
        known = row.reported is not None
        told = f"{row.reported:.2g}" if known else "not known"
        ratio = f"{row.reported / row.fresh:.2f}" if known else ""  # type: ignore[operator]
        lines.append(
            f"| {row.network} | {100 * row.sparsity:.0f} % | {row.samples} | {row.fresh:.2g} | "
            f"{row.magnitude:.2g} | {told} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the rows that are missing, and the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--zoo", type=Path, default=Path("zoo"))
    parser.add_argument("--more", type=Path, default=Path("more"))
    parser.add_argument("--only", help="names, or beginnings of names, separated by commas")
    args = parser.parse_args()
    rows = load_rows(RESULTS, Row)
    wanted = tuple(args.only.split(",")) if args.only else ("",)
    for network in networks(args.zoo, args.more):
        if not network.path.exists() or not network.name.startswith(wanted):
            continue
        for row in measure(network, {(row.network, row.samples) for row in rows}):
            rows.append(row)
            print(row, flush=True)
            save_rows(RESULTS, rows)
    RESULTS.with_suffix(".md").write_text(page(rows))


if __name__ == "__main__":
    main()
