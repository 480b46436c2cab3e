"""Time calibration against the forward pass and the Grams that it cannot do without.

    python tools/bench_calibration.py --zoo ZOO [MODEL ...] [--samples 256] [--repeats 2]

A model is a name that ``tools/zoo.py`` prepared in ZOO, with its calibration data, or an ``.onnx``
file, whose data are those beside it, else made up. Every phase runs in a process of its own, whose
largest resident memory is its peak; the fastest of all repeats and their largest peak count.

* forward: onnxruntime alone over all batches, without the time to make the session;
* independent: all Grams on the dense network, by NumPy and in the graph, sessions included;
* sequential: all Grams and targets, every layer counting as changed; nothing is solved.

The Gram's share is n d² flops for the n columns that a phase read, at the rate of SYRK on one
matrix of float32 with 1,024 columns: the median of products made between the models. With
``--provider cuda`` the graph's Grams are counted at the rate of such a product on the device, which
makes both halves of it. Writes ``tools/results/calibration.md``, or what ``--out`` names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_lobs.run.networks import Networks
    from onnx_lobs.run.setup import Setup

# the parent imports nothing large: a child's peak begins with what its parent holds
KIB = 1024
SYRK_SHAPE = 8192, 1024
DEVICE_SHAPE = 131_072, 1024
REPEATS = 12  # before each model, and after the last
PHASES = "forward", "numpy", "graph", "sequential"
TITLES = {
    "forward": "forward", "numpy": "independent, NumPy", "graph": "independent, graph",
    "sequential": "sequential",
}  # fmt: skip
INDEPENDENT_LIMIT = 1.5  # times forward + Grams
SEQUENTIAL_LIMIT = 4, 2  # times forward, times Grams
CPU = "cpu"
RESULT = Path(__file__).parent / "results" / "calibration.md"


@dataclass(frozen=True)
class Measured:
    """One phase on one model.

    Attributes
    ----------
    seconds, load
        Of the phase; of making the session, where that is not a part of it.
    flops
        n d² of its Grams.
    peak, samples
        Bytes; samples read.
    """

    seconds: float
    load: float
    flops: float
    peak: int
    samples: int


@dataclass(frozen=True)
class Job:
    """A model, its data (None: beside it, or made up), how much is read, and how much at once."""

    model: Path
    data: Path | None
    samples: int
    batch_size: int | None
    provider: str

    @property
    def command(self) -> list[str]:
        """The arguments by which a child knows it."""
        data = [] if self.data is None else ["--data", str(self.data)]
        sizes = ["--samples", str(self.samples), "--provider", self.provider]
        if self.batch_size is not None:
            sizes += ["--batch-size", str(self.batch_size)]
        return [str(self.model), *data, *sizes]


def run_phase(job: Job, phase: str) -> Measured:
    """Run one phase in this process."""
    from onnx_lobs.options.config import PruneConfig
    from onnx_lobs.run.log import Log
    from onnx_lobs.run.setup import open_run

    config = PruneConfig(
        samples=job.samples,
        batch_size=job.batch_size,
        provider=job.provider,
        sequential=phase == "sequential",
        gram="graph" if phase == "graph" else "numpy",
    )
    setup, networks = open_run(job.model, job.data and str(job.data), None, config, Log())
    run = run_forward if phase == "forward" else run_calibration
    seconds, load, flops = run(setup, networks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    return Measured(seconds, load, flops, peak, setup.batches.n_samples)


def run_forward(setup: Setup, networks: Networks) -> tuple[float, float, float]:
    """Return the seconds of onnxruntime over all batches, those of the session, and no flops."""
    from onnx_lobs.graph.run.session import Session

    loading = time.perf_counter()
    dense = networks.dense
    session = Session(dense.proto, folder=dense.folder, provider=networks.provider)
    started = time.perf_counter()
    for feeds in setup.batches:
        session.run(feeds)
    return time.perf_counter() - started, started - loading, 0.0


def run_calibration(setup: Setup, networks: Networks) -> tuple[float, float, float]:
    """Return the seconds, 0, and the flops of all Grams as the pipeline would compute them."""
    from onnx_lobs.memory.scratch import Scratch
    from onnx_lobs.report.progress import Silent
    from onnx_lobs.run.log import Log
    from onnx_lobs.run.resume.known import Known
    from onnx_lobs.run.schedule import calibrations

    known = Known.nothing()
    scratch = Scratch(None)
    flops = 0.0
    started = time.perf_counter()
    try:
        for _, found in calibrations(setup, networks, known, scratch, Silent(), Log()):
            for moments in () if found is None else (*found.fit, *found.held):
                gram = moments.inputs
                flops += float(gram.groups) * gram.count * gram.columns**2
        return time.perf_counter() - started, 0.0, flops
    finally:
        scratch.close()


def syrk_rates() -> list[float]:
    """Return n d² flops per second of the Gram of one float32 matrix, a few times."""
    import numpy as np

    n, d = SYRK_SHAPE
    x = np.random.default_rng(0).standard_normal((n, d), np.float32)
    return [n * d**2 / seconds for seconds in timed(lambda: x.T @ x)]


def device_rates(provider: str) -> list[float]:
    """Return the same of a graph's product of a matrix that is on the device, and stays there."""
    import numpy as np
    import onnxruntime as ort
    from onnx import TensorProto, helper

    from onnx_lobs.graph.run.session import CUDA_OPTIONS, find_provider

    n, d = DEVICE_SHAPE
    turn = helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0])
    nodes = [turn, helper.make_node("MatMul", ["t", "x"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, d]) for name in "xy")
    graph = helper.make_graph(nodes, "gram", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString()
    session = ort.InferenceSession(proto, providers=[(find_provider(provider), CUDA_OPTIONS)])
    data = np.random.default_rng(0).standard_normal((n, d), np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(data, provider, 0))
    binding.bind_output("y", provider, 0)
    return [n * d**2 / seconds for seconds in timed(lambda: session.run_with_iobinding(binding))]


def timed(work: Callable[[], object]) -> list[float]:
    """Return how long each of a few calls takes, after one that does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return times


def in_child(job: Job, phase: str, repeats: int) -> Measured:
    """Run one phase in processes of its own."""
    command = [sys.executable, __file__, *job.command, "--phase", phase]
    runs = []
    for _ in range(repeats):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        runs.append(Measured(**json.loads(done.stdout.splitlines()[-1])))
    best = min(runs, key=lambda run: run.seconds)
    return replace(best, peak=max(run.peak for run in runs))


def rows_of(name: str, runs: dict[str, Measured], rates: dict[str, float]) -> list[str]:
    """Return the lines of the table for one model."""
    forward = runs["forward"].seconds
    lines = []
    for phase, run in runs.items():
        gram = run.flops / rates[phase]
        is_plain = phase == "forward"
        ratio = "" if is_plain else f"{run.seconds / (forward + gram):.2f}"
        cells = [
            name, TITLES[phase], str(run.samples), f"{run.load:.2f}" if is_plain else "within",
            f"{run.seconds:.2f}", f"{run.flops / 1e9:.1f}", f"{gram:.2f}", ratio,
            f"{run.peak / 2**20:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def verdicts(name: str, runs: dict[str, Measured], rates: dict[str, float]) -> list[str]:
    """Return, for one model, what was promised and whether it holds."""
    forward = runs["forward"].seconds
    lines = []
    for phase, run in runs.items():
        gram = run.flops / rates[phase]
        limit = INDEPENDENT_LIMIT * (forward + gram)
        if phase == "sequential":
            limit = SEQUENTIAL_LIMIT[0] * forward + SEQUENTIAL_LIMIT[1] * gram
        if phase != "forward":
            word = "PASS" if run.seconds <= limit else "FAIL"
            lines.append(
                f"* {word} {name}, {TITLES[phase]}: {run.seconds:.2f} s, promised <= {limit:.2f} s"
            )
    return lines


def report(found: dict[str, dict[str, Measured]], rates: dict[str, float], provider: str) -> str:
    """Return the page of results.

    Parameters
    ----------
    rates
        Flops per second of the Grams of each phase.
    """
    import onnxruntime

    threads = os.environ.get("OMP_NUM_THREADS", "all")
    each = list(found.items())
    rows = [line for name, runs in each for line in rows_of(name, runs, rates)]
    ends = [line for name, runs in each for line in verdicts(name, runs, rates)]
    own = f"SYRK runs at {rates['numpy'] / 1e9:.1f} Gflop/s (n d² flops)"
    if provider != CPU:
        own += f", the product on the device at {rates['graph'] / 1e9:.1f}"
    return "\n".join([
        "# What calibration costs",
        "",
        f"Made by `tools/bench_calibration.py`: onnxruntime {onnxruntime.__version__}, "
        f"provider {provider}, {platform.machine()}, {os.cpu_count()} cores, "
        f"OMP_NUM_THREADS {threads}, load average at the end {os.getloadavg()[0]:.1f}; {own}. "
        "Ratio: seconds / (forward + Grams at that rate).",
        "",
        "| model | phase | samples | session, s | seconds | Gram Gflop | at SYRK rate, s | ratio "
        "| peak MiB |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Promised: independent <= {INDEPENDENT_LIMIT} (forward + Grams), sequential <= "
        f"{SEQUENTIAL_LIMIT[0]} forward + {SEQUENTIAL_LIMIT[1]} Grams.",
        "",
        *ends,
        "",
    ])  # fmt: skip


def find_job(name: str, given: argparse.Namespace) -> Job:
    """Return the job of a file, or of a model of the zoo."""
    how = given.samples, given.batch_size, given.provider
    if name.endswith(".onnx"):
        return Job(Path(name), None, *how)
    if given.zoo is None:
        sys.exit(f"{name!r} is no .onnx file; give the folder of the prepared models as --zoo")
    return Job(given.zoo / f"{name}.onnx", given.zoo / f"{name}_calibration.npz", *how)


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="names of the zoo, or .onnx files")
    parser.add_argument("--zoo", type=Path, help="folder that tools/zoo.py filled")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--batch-size", type=int, help="default: as the command chooses it")
    parser.add_argument("--provider", choices=(CPU, "cuda"), default=CPU)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--phases", default=",".join(PHASES), help="of forward (always), numpy, graph, sequential"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None, echo: Callable[[str], None] = print) -> None:
    """Measure every model and write the table."""
    given = parse(args)
    if given.phase:
        path = Path(given.models[0])
        job = Job(path, given.data, given.samples, given.batch_size, given.provider)
        echo(json.dumps(asdict(run_phase(job, given.phase))))
        return
    names = given.models
    if not names and given.zoo is not None:
        names = sorted(path.stem for path in given.zoo.glob("*.onnx"))
    phases = ["forward", *(p for p in given.phases.split(",") if p != "forward")]
    found, rates = {}, syrk_rates()
    for name in names:
        job = find_job(name, given)
        runs = {phase: in_child(job, phase, given.repeats) for phase in phases}
        found[job.model.stem] = runs
        rates += syrk_rates()
    rate = dict.fromkeys(PHASES, statistics.median(rates))
    if given.provider != CPU:
        rate["graph"] = statistics.median(device_rates(given.provider))
    text = report(found, rate, given.provider)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(text, encoding="utf-8")
    echo(text)


if __name__ == "__main__":
    main()
