"""Score whole pruned networks against sparsity, with onnxsim 0.8.1's pruners in the same run.

    python tools/zoo.py --out ZOO
    python tools/bench_models.py --zoo ZOO [--models lenet-5,...] [--methods auto,...] [--report]

Every case is one model, one method and one sparsity, run in a process of its own on the same
calibration samples, and scored on test samples that no method saw; a case over 15 minutes is
recorded as that. Cases are kept in ``OUT/bench_models.json``, so that a run that was stopped goes
on and cases can be added; ``--report`` only writes ``OUT/bench_models.md`` and ``.svg``.

Methods: ``auto`` is ``onnx-lobs`` with its defaults, ``uniform`` the same with ``--allocation
uniform``, the others are methods with uniform sparsity: ``magnitude`` without refit, ``lobs`` as
published, ``sparsegpt`` and ``exact-obs`` with refit; ``onnxsim-wanda`` and ``onnxsim-sparsegpt``
with their defaults. Before onnxsim sees a model, weights in Constant nodes become initializers:
it passes over the former without a word.

Sparsity means the share of zeros in all constants of two or more dimensions that a Conv, Gemm or
MatMul multiplies by, whoever leaves some of them dense: a method that does (``uniform`` leaves
depthwise convolutions) is asked for more in the others, so that all methods are compared at equal
zeros in the file. ``zeros`` is measured there.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import zoo
from kept_rows import load_rows, save_rows
from numpy.typing import NDArray
from onnx import numpy_helper
from zoo_model import Runner, predict

MNIST = Path(__file__).parents[1] / "models" / "mnist"
LENETS = ("lenet-300-100", "lenet-5")
COMPACT = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
WIDE = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
DENSE_LAYERS = (0.8, 0.9, 0.93, 0.97, 0.985, 0.99, 0.995)
SPARSITIES = {
    "lenet-300-100": DENSE_LAYERS,
    "lenet-5": DENSE_LAYERS,
    "ppocr-rec": (*COMPACT, 0.9),
    "ppocr-cls": (*COMPACT, 0.9, 0.95),  # not uniform: its depthwise convolutions stay dense
    "efficientnet-lite0": COMPACT,
    "minilm-l3": WIDE,
    "magika": WIDE,
}
UNIFORM = {"allocation": "uniform"}
LOBS = {
    "auto": {},
    "uniform": UNIFORM,
    "exact-obs": {"method": "exact-obs", **UNIFORM},
    "sparsegpt": {"method": "sparsegpt", **UNIFORM},
    "lobs": {"method": "lobs", **UNIFORM},
    "magnitude": {"method": "magnitude", "refit": False, **UNIFORM},
}
RIVALS = ("onnxsim-wanda", "onnxsim-sparsegpt")
METHODS = (*LOBS, *RIVALS)
LIMIT_S = 900
BATCH = 32
COMPARED = 64  # test samples on which the output error is measured


@dataclass(frozen=True)
class Case:
    """One run: what was asked, and what came out; None where it took too long or failed."""

    model: str
    method: str
    sparsity: float
    zeros: float | None = None
    score: float | None = None
    output_error: float | None = None
    seconds: float | None = None
    note: str = ""
    hits: str = ""  # which test samples come out right, see pack()

    @property
    def key(self) -> str:
        """What was asked."""
        return f"{self.model} {self.method} {self.sparsity:g}"


@dataclass(frozen=True)
class Subject:
    """A model, its calibration and test inputs as floats, and how to tell which come out right."""

    path: Path
    calibration: dict[str, NDArray[np.generic]]
    test: dict[str, NDArray[np.generic]]
    hits: Callable[[Runner], NDArray[np.bool_]]


def open_subject(name: str, folder: Path) -> Subject:
    """Return one of the LeNets of the project, or a model of the zoo."""
    if name not in LENETS:
        model = zoo.load(name, folder)
        names = {i.name for i in ort.InferenceSession(str(model.path)).get_inputs()}
        test = {key: value for key, value in model.test.items() if key in names}
        return Subject(model.path, dict(model.calibration), test, model.hits)
    parts = []
    for part in ("calibration", "test"):
        with np.load(MNIST / f"{part}.npz") as arrays:
            parts.append({key: arrays[key] for key in arrays.files})
    images = [(p["image"] * p["image.scale"]).astype(np.float32) for p in parts]
    hits = partial(top1_hits, images=images[1], labels=parts[1]["label"])
    return Subject(MNIST / f"{name}.onnx", {"image": images[0]}, {"image": images[1]}, hits)


def top1_hits(
    runner: Runner, images: NDArray[np.float32], labels: NDArray[np.generic]
) -> NDArray[np.bool_]:
    """Return whether each image's largest output has the label's index."""
    best = predict(runner, {"image": images}, "logits", batch=500).argmax(axis=1)
    return np.asarray(best == labels)


def pack(hits: NDArray[np.bool_]) -> str:
    """Return booleans as text: their number, a colon, and their bits, compressed, in base64."""
    bits = zlib.compress(np.packbits(hits).tobytes(), 9)
    return f"{hits.size}:{base64.b64encode(bits).decode()}"


def unpack(text: str) -> NDArray[np.bool_]:
    """Return what pack() was given."""
    size, _, bits = text.partition(":")
    packed = np.frombuffer(zlib.decompress(base64.b64decode(bits)), np.uint8)
    return np.unpackbits(packed, count=int(size)).astype(bool)


def lift_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with tensors of Constant nodes as initializers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = []
    for node in copy.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type != "Constant" or value is None:
            kept.append(node)
            continue
        tensor = copy.graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


def prune(subject: Subject, method: str, sparsity: float) -> onnx.ModelProto:
    """Prune the model with one of METHODS."""
    if method in LOBS:
        import onnx_lobs

        own = own_sparsity(subject.path, method, sparsity)
        return onnx_lobs.prune(
            subject.path, subject.calibration, sparsity=own, **LOBS[method]
        ).model
    import onnxsim

    count = len(next(iter(subject.calibration.values())))
    batches = [
        {name: array[i : i + BATCH] for name, array in subject.calibration.items()}
        for i in range(0, count, BATCH)
    ]
    apply = {
        "onnxsim-wanda": onnxsim.apply_wanda_pruning,
        "onnxsim-sparsegpt": onnxsim.apply_sparsegpt_pruning,
    }[method]
    model = lift_constants(onnx.load(subject.path))
    return apply(model, calibration_data=batches, sparsity=sparsity)


def own_sparsity(path: Path, method: str, sparsity: float) -> float:
    """Return what to ask a method of ours for, so that a share of all weights becomes zero."""
    from onnx_lobs.options.config import PruneConfig
    from onnx_lobs.verbs.inspect import inspect

    prunable = sum(layer.weights for layer in inspect(path, PruneConfig(**LOBS[method])).layers)
    every = sum(array.size for array in constants(onnx.load(path)))
    return sparsity * every / prunable


def share_of_zeros(model: onnx.ModelProto) -> float:
    """Return the share of zeros in all constants that a Conv, Gemm or MatMul multiplies by."""
    arrays = constants(model)
    return sum(int((a == 0).sum()) for a in arrays) / sum(a.size for a in arrays)


def constants(model: onnx.ModelProto) -> list[NDArray[np.generic]]:
    """Return the constants of two or more dimensions that a Conv, Gemm or MatMul multiplies by."""
    model = lift_constants(model)
    read = {
        name
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
        for name in node.input[:2]
    }
    return [
        numpy_helper.to_array(t)
        for t in model.graph.initializer
        if t.name in read and len(t.dims) >= 2
    ]


def output_error(dense: onnx.ModelProto, pruned: onnx.ModelProto, subject: Subject) -> float:
    """Return sum (pruned - dense)² / sum dense² over all floating outputs."""
    feeds = {name: array[:COMPARED] for name, array in subject.test.items()}
    change, energy = 0.0, 0.0
    found = [ort.InferenceSession(m.SerializeToString()).run(None, feeds) for m in (dense, pruned)]
    for before, after in zip(*found, strict=True):
        if np.issubdtype(before.dtype, np.floating):
            exact = before.astype(np.float64)
            change += float(np.square(after - exact).sum())
            energy += float(np.square(exact).sum())
    return change / energy


def run_here(case: Case, folder: Path) -> Case:
    """Run a case in this process."""
    subject = open_subject(case.model, folder)
    started = time.perf_counter()
    pruned = prune(subject, case.method, case.sparsity)
    seconds = time.perf_counter() - started
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(pruned, file.name)
        hits = subject.hits(ort.InferenceSession(file.name))
    error = output_error(onnx.load(subject.path), pruned, subject)
    zeros = share_of_zeros(pruned)
    return dataclasses.replace(
        case, zeros=zeros, score=float(hits.mean()), output_error=error, seconds=seconds,
        hits=pack(hits),
    )  # fmt: skip


def run_apart(case: Case, folder: Path) -> Case:
    """Run a case in a process of its own, for at most LIMIT_S seconds."""
    command = [sys.executable, __file__, "--zoo", str(folder), "--one", json.dumps(asdict(case))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return Case(case.model, case.method, case.sparsity, note=f"over {LIMIT_S // 60} minutes")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Case(case.model, case.method, case.sparsity, note=f"failed: {last[:120]}")
    return Case(**json.loads(done.stdout.splitlines()[-1]))


def dense_case(name: str, folder: Path) -> Case:
    """Return the case of a model as it came."""
    subject = open_subject(name, folder)
    hits = subject.hits(ort.InferenceSession(str(subject.path)))
    return Case(name, "dense", 0.0, 0.0, float(hits.mean()), 0.0, 0.0, hits=pack(hits))


def main() -> None:
    """Run the cases that are asked for and not yet known, and write the report."""
    from bench_models_report import write_report

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True, help="folder made by tools/zoo.py")
    parser.add_argument("--models", default=",".join(SPARSITIES), help="names, comma separated")
    parser.add_argument("--methods", default=",".join(METHODS), help="names, comma separated")
    parser.add_argument("--sparsity", default="", help="fractions, comma separated")
    parser.add_argument("--out", type=Path, default=Path("tools/results"))
    parser.add_argument("--again", action="store_true", help="run cases that are known too")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(run_here(Case(**json.loads(arguments.one)), arguments.zoo))))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    store = arguments.out / "bench_models.json"
    cases = {case.key: case for case in load_rows(store, Case)}
    wanted = [float(s) for s in arguments.sparsity.split(",") if s]
    for name in () if arguments.report else arguments.models.split(","):
        dense = dense_case(name, arguments.zoo)
        cases.setdefault(dense.key, dense)
        for sparsity in wanted or SPARSITIES[name]:
            for method in arguments.methods.split(","):
                case = Case(name, method, sparsity)
                if case.key in cases and not arguments.again:
                    continue
                cases[case.key] = run_apart(case, arguments.zoo)
                print({k: v for k, v in asdict(cases[case.key]).items() if k != "hits"}, flush=True)
                save_rows(store, cases.values())
    write_report(arguments.out, list(cases.values()))


if __name__ == "__main__":
    main()
