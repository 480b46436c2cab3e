"""Put the real models of tools/zoo.py through the command line and score what comes out.

    python tools/zoo.py --out ZOO
    python tools/run_models.py --zoo ZOO [--models magika,...] [--sparsity 0.5]

For every model the command ``onnx-lobs MODEL -d CALIBRATION -s S -o OUT --json`` is run with each
method; the written file is loaded by onnxruntime and scored on test data that the command never
saw. Writes a table to tools/results/models.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort
import zoo

METHODS = {
    "magnitude": ["--method", "magnitude", "--no-refit"],
    "lobs": ["--method", "lobs"],
    "joint": [],
}


@dataclass(frozen=True)
class Run:
    """One run of the command and the score of its output."""

    model: str
    method: str
    sparsity: float
    layers: int
    skipped: int
    zeros: float
    output_error: float
    score: float
    seconds: float


def prune(
    model: zoo.ZooModel, calibration: Path, method: str, sparsity: float, out: Path
) -> tuple[dict[str, object], float]:
    """Run the command; return its record and the wall seconds of the whole process."""
    command = [sys.executable, "-m", "onnx_lobs", str(model.path), "-d", str(calibration)]
    command += ["-s", str(sparsity), "-o", str(out), "--overwrite", "--json", *METHODS[method]]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout), time.perf_counter() - started


def run_one(name: str, folder: Path, method: str, sparsity: float) -> Run:
    """Prune one model and score the file that was written."""
    model = zoo.load(name, folder)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "pruned.onnx"
        calibration = folder / f"{name}_calibration.npz"
        record, seconds = prune(model, calibration, method, sparsity, out)
        session = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        score = model.score(session)
    totals, output = record["totals"], record["output"]
    assert isinstance(totals, dict)
    assert isinstance(output, dict)
    return Run(
        name,
        method,
        sparsity,
        len(list(record["layers"])),  # type: ignore[call-overload]
        len(list(record["skipped"])),  # type: ignore[call-overload]
        totals["sparsity"],
        output["error"],
        score,
        seconds,
    )


def dense_score(name: str, folder: Path) -> float:
    """Return the score of the model as it came."""
    model = zoo.load(name, folder)
    session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    return model.score(session)


def table(runs: list[Run], dense: dict[str, float]) -> str:
    """Return the runs as a Markdown table."""
    lines = [
        "| model | zeros | method | score (dense) | output error | layers, skipped | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        lines.append(
            f"| {run.model} | {run.zeros:.1%} | {run.method} | {run.score:.3f} "
            f"({dense[run.model]:.3f}) | {run.output_error:.3g} | {run.layers}, {run.skipped} "
            f"| {run.seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run every model with every method and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True, help="folder made by tools/zoo.py")
    parser.add_argument("--models", default=",".join(zoo.NAMES), help="names, comma separated")
    parser.add_argument("--methods", default=",".join(METHODS), help="names, comma separated")
    parser.add_argument("--sparsity", default="0.5", help="fractions, comma separated")
    parser.add_argument("--out", type=Path, default=Path("tools/results/models.md"))
    arguments = parser.parse_args()
    runs: list[Run] = []
    dense: dict[str, float] = {}
    for name in arguments.models.split(","):
        dense[name] = dense_score(name, arguments.zoo)
        for sparsity in map(float, arguments.sparsity.split(",")):
            for method in arguments.methods.split(","):
                runs.append(run_one(name, arguments.zoo, method, sparsity))
                print(table(runs[-1:], dense).splitlines()[-1], flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(table(runs, dense))


if __name__ == "__main__":
    main()
