"""Measure what zeros and int8 are worth in onnxruntime, OpenVINO and MNN, on real models.

    python tools/bench_deploy.py --zoo ZOO --out OUT lenet-5 ppocr-cls [--runtimes onnxruntime MNN]

For each model and runtime four files: dense; int8 alone, as people make it; zeros alone; zeros and
int8 together (tools/deploy_files.py). For onnxruntime and OpenVINO int8 is of weights and
activations, alone by onnxruntime.quantization (QDQ, a scale for each output), and files with zeros
are packed. For MNN int8 is its converter's, of weights, and zeros are in blocks.

Of each file: bytes raw and gzipped, milliseconds of CPU time and peak memory to load, milliseconds
of CPU time for one sample on one thread (the least of interleaved rounds), and the score of the
model's task in that runtime. Every case is kept in tools/results/deploy.json as soon as it is
measured, and the table is tools/results/deploy.md. Needs openvino and MNN beside the package.
Microcontrollers: tools/bench_deploy_c.py; a ResNet-50 in MNN: tools/bench_deploy_mnn.py.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import zoo
from deploy_files import CASES, FORMS, MNIST, RANDOM, Case, mnn_files, onnx_files
from deploy_runtimes import RUNTIMES, Run

from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.reader import open_data
from onnx_lobs.graph.files.load import load_model

RESULTS = Path(__file__).with_name("results") / "deploy.json"
PROGRAM = Path(__file__).with_name("deploy_runtimes.py")
BATCH = 16
COLUMNS = ("bytes", "gzipped", "load_ms", "load_mb", "ms", "score")
HEAD = ("bytes", "gzipped", "load, ms", "load, MB", "one sample, ms", "score")


def main() -> None:
    """Measure every model that is named in every runtime that is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runtimes", nargs="+", default=list(RUNTIMES), choices=list(RUNTIMES))
    parser.add_argument("models", nargs="+", choices=list(CASES))
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    for name in options.models:
        for runtime in options.runtimes:
            keep(options.results, measure(CASES[name], runtime, options.zoo, options.out))


def measure(case: Case, runtime: str, folder: Path, out: Path) -> list[dict[str, Any]]:
    """Return the records of the files of one model in one runtime."""
    made = (mnn_files if runtime == "MNN" else onnx_files)(case, folder, out)
    feeds = out / f"{case.name}-feeds.npz"
    np.savez(feeds, **first_sample(case.dense(folder), case.data(folder)))
    times = printed("time", runtime, feeds, *made.values())
    found = []
    for form, ms in zip(made, times, strict=True):
        raw = made[form].read_bytes()
        load_ms, kib = printed("load", runtime, made[form])
        record = {"model": case.name, "sparsity": case.sparsity, "runtime": runtime, "form": form}
        record |= {"bytes": len(raw), "gzipped": len(gzip.compress(raw, 6))}
        record |= {"load_ms": round(load_ms, 1), "load_mb": round(kib / 1024, 1)}
        record |= {"ms": round(ms, 4), "score": score_of(case, runtime, made[form], folder)}
        print(line_of(record), flush=True)
        found.append(record)
    return found


def first_sample(model: Path, data: Path) -> dict[str, np.ndarray]:
    """Return a batch of one."""
    specs = input_specs(load_model(model).proto)
    return dict(next(iter(open_data(str(data), specs, samples=1, batch_size=1))))


def printed(*arguments: object) -> list[float]:
    """Return the numbers that a process of its own prints last."""
    command = [sys.executable, PROGRAM, *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [*map(float, done.stdout.splitlines()[-1].split())]


def score_of(case: Case, runtime: str, path: Path, folder: Path) -> float | None:
    """Return the share of test samples that come out right; None where weights are random."""
    if case.name == RANDOM:
        return None
    run = RUNTIMES[runtime](path)
    if case.name in zoo.NAMES:
        return round(zoo.load(case.name, folder).score(run), 4)
    return round(mnist_score(run), 4)


def mnist_score(run: Run) -> float:
    """Return the share of MNIST's test images whose largest output is the label."""
    specs = input_specs(load_model(MNIST / "lenet-5.onnx").proto)
    with np.load(MNIST / "test.npz") as arrays:
        labels = arrays["label"].reshape(-1)
    found = []
    for feeds in open_data(str(MNIST / "test.npz"), specs, samples=None, batch_size=BATCH):
        (logits,) = run(feeds).values()
        found.append(logits.argmax(axis=1))
    return float((np.concatenate(found) == labels).mean())


def keep(path: Path, records: list[dict[str, Any]]) -> None:
    """Put records in place of those of the same files, and write the table anew."""
    held = json.loads(path.read_text()) if path.exists() else []
    by_case = {(r["model"], r["runtime"], r["form"]): r for r in [*held, *records]}
    order = {name: at for at, name in enumerate((*CASES, *RUNTIMES, *FORMS))}
    sorted_ = sorted(by_case.items(), key=lambda item: [order[word] for word in item[0]])
    path.write_text(json.dumps([record for _, record in sorted_], indent=1) + "\n")
    lines = [line_of(record) for _, record in sorted_]
    head = ["# Zeros and int8 by runtime", "", "Made by `tools/bench_deploy.py`; see its head.", ""]
    head += ["| " + " | ".join(("network, zeros", "runtime", "file", *HEAD)) + " |"]
    head += ["|" + "---|" * (3 + len(HEAD))]
    path.with_suffix(".md").write_text("\n".join([*head, *lines, ""]))


def line_of(record: dict[str, Any]) -> str:
    """Return the row of a record."""
    shown = {name: "" if record[name] is None else f"{record[name]:,}" for name in COLUMNS}
    about = [f"{record['model']}, {record['sparsity']:.0%}", record["runtime"], record["form"]]
    return "| " + " | ".join([*about, *shown.values()]) + " |"


if __name__ == "__main__":
    main()
