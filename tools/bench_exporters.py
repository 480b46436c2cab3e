"""Prune small models of many exporters at 50 % and write a table of errors on unseen samples.

    python tools/bench_exporters.py ../shared/cases/exported -o results.md

Each ``NAME.onnx`` in the folder has a ``NAME.npz`` with samples beside it. The last quarter of the
samples is never seen by the run: the error is measured on them by onnxruntime, of all floating
outputs together, sum of squared changes over the sum of squares. Magnitude is
``--method magnitude --no-refit --allocation uniform``. Seconds are those of CPU, of the whole
command. Beside each share of zeros among the weights that took part stands that of all weights
of the file. A command that uses more seconds of CPU than ``--limit`` is ended, and the row says so.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime

UNSEEN_PART = 4
MAGNITUDE = ("--method", "magnitude", "--no-refit", "--allocation", "uniform")
EXTENDED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED  # all passes crash on one file
Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One model: its weights, the share that is zero, errors, seconds; or why there are none."""

    name: str
    weights: int = 0
    share: float = 0.0
    error: float = 0.0
    magnitude: float = 0.0
    seconds: float = 0.0
    trouble: str = ""


def main() -> None:
    """Read the command line, measure every model, write the table as rows come."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("-s", "--sparsity", default="0.5")
    parser.add_argument("--only", nargs="*", help="names of models")
    parser.add_argument("--limit", type=int, default=480, help="seconds of CPU of one command")
    parser.add_argument("options", nargs="*", help="further options of onnx-lobs, behind --")
    args = parser.parse_args()
    rows: list[Row] = []
    for model in sorted(args.folder.glob("*.onnx")):
        if model.with_suffix(".npz").exists() and (not args.only or model.stem in args.only):
            rows.append(measure(model, args.sparsity, args.options, args.limit))
            print(line(rows[-1]), flush=True)
    if args.output:
        args.output.write_text(table(rows))


def measure(model: Path, sparsity: str, options: Sequence[str], limit: int) -> Row:
    """Prune one model by default and by magnitude, and compare on samples that neither saw."""
    with np.load(model.with_suffix(".npz")) as stored:
        data = dict(stored)
    count = len(next(iter(data.values())))
    n_seen = count - max(count // UNSEEN_PART, 1)
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder, "seen.npz")
        np.savez(seen, **{name: values[:n_seen] for name, values in data.items()})
        unseen = {name: values[n_seen:] for name, values in data.items()}
        found = [
            prune(model, seen, Path(folder, f"{index}.onnx"), sparsity, some, limit)
            for index, some in enumerate((options, (*options, *MAGNITUDE)))
        ]
        for outcome in found:
            if isinstance(outcome, str):
                return Row(model.stem, trouble=outcome)
        report, seconds = cast(tuple[dict[str, Any], float], found[0])
        totals = report["totals"]
        weights = totals["file"]["weights"]
        error, magnitude = (
            change(model, Path(folder, f"{index}.onnx"), unseen) for index in (0, 1)
        )
    return Row(model.stem, weights, totals["zeros"] / weights, error, magnitude, seconds)


def prune(
    model: Path, data: Path, output: Path, sparsity: str, options: Sequence[str], limit: int
) -> tuple[dict[str, Any], float] | str:
    """Run the command; return the report and its seconds of CPU, or why there is none."""
    before = cpu_seconds()
    command = [sys.executable, "-m", "onnx_lobs", str(model), "-d", str(data), "-o", str(output)]
    done = subprocess.run(
        ["prlimit", f"--cpu={limit}", *command, "-s", sparsity, "--json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == -signal.SIGXCPU or done.returncode == -signal.SIGKILL:
        return f"over the limit of {limit} seconds of CPU"
    if done.returncode not in (0, 1) or not output.exists():
        return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    return json.loads(done.stdout), cpu_seconds() - before


def cpu_seconds() -> float:
    """Return the seconds of CPU of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def change(dense: Path, pruned: Path, unseen: Arrays) -> float:
    """Return the relative squared change of all floating outputs; NaN if the dense ones are 0."""
    squares = [
        (np.sum((one - other) ** 2), np.sum(one**2))
        for one, other in zip(outputs(dense, unseen), outputs(pruned, unseen), strict=True)
    ]
    energy = sum(whole for _, whole in squares)
    return float(sum(changed for changed, _ in squares) / energy) if energy else float("nan")


def outputs(model: Path, samples: Arrays) -> Iterator[Any]:
    """Yield every floating output of every sample, in float64, one sample a call."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = EXTENDED
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    for index in range(len(next(iter(samples.values())))):
        feeds = {name: values[index : index + 1] for name, values in samples.items()}
        for value in session.run(None, feeds):
            if np.issubdtype(value.dtype, np.floating):
                yield value.astype(np.float64)


def line(row: Row) -> str:
    """Return a row of the table."""
    if row.trouble:
        return f"| {row.name} | | | {row.trouble} | | |"
    return (
        f"| {row.name} | {row.weights:,} | {row.share:.1%} | {row.error:.2g} | "
        f"{row.magnitude:.2g} | {row.seconds:.0f} |"
    )


def table(rows: Sequence[Row]) -> str:
    """Return the whole table."""
    heading = "| model | weights | zeros of all | error | magnitude's | CPU seconds |\n"
    return heading + "|---|---|---|---|---|---|\n" + "".join(f"{line(row)}\n" for row in rows)


if __name__ == "__main__":
    main()
