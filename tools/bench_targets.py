"""Ask for at most a point of drop, and see on other samples what came of it, and at what cost.

    python tools/zoo.py --out ZOO
    python tools/bench_targets.py --zoo ZOO [--models magika,...] [--max-drop 0.01] [--turned]

For every model ``onnx_lobs.prune(..., max_drop=...)`` searches on half of the test samples, drawn
at random, with a score from a script, as ``--score FILE.py:FUNCTION`` reads it; the network that it
returns is scored on the other half, which it never saw. Then one plain run at the sparsity found is
timed. Results go to ``OUT/bench_targets.json`` and ``OUT/bench_targets.md``.

One half may be easier to keep right than the other, whatever the network: on Magika and MiniLM
every method at every sparsity loses more on one. ``--turned`` searches on that one and scores on
the first, and the mean of both searches is free of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from bench_models import SPARSITIES, Subject, open_subject
from kept_rows import load_rows, save_rows

import onnx_lobs
from onnx_lobs.arrays import BoolArray, FloatArray

MOST_RUNS = 6  # that a search may take as long as
SCRIPT = """
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, {tools!r})
from bench_models import open_subject
from bench_targets import is_searched

@cache
def subject():
    return open_subject({name!r}, Path({zoo!r}))

def score(run):
    hits = subject().hits(run)
    return hits[is_searched(hits.size, {turned!r})].astype(float)
"""


@dataclass(frozen=True)
class Search:
    """What a search came to, in the units of the score; drops with their standard errors.

    ``note`` is written by hand into the JSON file, where the conditions were others.
    """

    model: str
    limit: float
    sparsity: float
    is_met: bool
    runs: int
    drop: float
    held_drop: float
    held_error: float
    held_samples: int
    seconds: float
    one_run: float
    cpu_seconds: float | None = None
    one_cpu: float | None = None
    note: str = ""
    turned: bool = False

    @property
    def ratio(self) -> float:
        """Time of the search over that of one run; CPU seconds where they are known."""
        if self.cpu_seconds is None or self.one_cpu is None:
            return self.seconds / self.one_run
        return self.cpu_seconds / self.one_cpu

    @property
    def verdict(self) -> str:
        """Whether both promises are kept: the drop on other samples, and the time."""
        if self.held_drop > self.limit:
            within = self.held_drop - self.held_error <= self.limit
            return "within a standard error" if within else "FAIL"
        return "PASS" if self.ratio <= MOST_RUNS else "FAIL"


def search(name: str, folder: Path, limit: float, turned: bool) -> Search:
    """Search on one half of the test samples, score on the other, time one plain run."""
    subject = open_subject(name, folder)
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "score.py"
        tools = str(Path(__file__).parent.resolve())
        zoo = str(folder.resolve())
        script.write_text(SCRIPT.format(tools=tools, name=name, zoo=zoo, turned=turned))
        started, cpu = time.perf_counter(), time.process_time()
        found = onnx_lobs.prune(
            subject.path, subject.calibration, max_drop=limit, score=f"{script}:score"
        )
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        target = found.report.target
        score = found.report.output.score
        assert target is not None
        assert score is not None
        started, cpu = time.perf_counter(), time.process_time()
        onnx_lobs.prune(
            subject.path, subject.calibration, sparsity=target.sparsity, score=f"{script}:score"
        )
        one_run, one_cpu = time.perf_counter() - started, time.process_time() - cpu
    lost = held_hits(subject, subject.path.read_bytes(), turned)
    lost -= held_hits(subject, found.model.SerializeToString(), turned)
    return Search(
        name, limit, target.sparsity, target.is_met, len(target.runs), score.drop,
        float(lost.mean()), float(lost.std(ddof=1) / np.sqrt(lost.size)), lost.size,
        seconds, one_run, cpu_seconds, one_cpu, turned=turned,
    )  # fmt: skip


def is_searched(n: int, turned: bool = False) -> BoolArray:
    """Return which of n samples are searched on: half, at random, as labels may alternate."""
    first = np.random.default_rng(0).permutation(n) < n // 2
    return ~first if turned else first


def held_hits(subject: Subject, model: bytes, turned: bool) -> FloatArray:
    """Return 1.0 for each sample that the search never saw and that the model gets right."""
    hits = subject.hits(ort.InferenceSession(model))
    return hits[~is_searched(hits.size, turned)].astype(np.float64)


def write(folder: Path, found: Sequence[Search]) -> None:
    """Write the table."""
    lines = [
        "# The sparsest network with at most a point of drop",
        "",
        "Made by `tools/bench_targets.py`; see its head. Drops in points of the score.",
        "",
        "| model | zeros found | runs | drop on the samples searched on | drop on others "
        "| seconds | one plain run | ratio (of CPU seconds, if known) | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        held = f"{100 * each.held_drop:+.2f} ± {100 * each.held_error:.2f}"
        name = each.model + ", turned" * each.turned
        lines.append(
            f"| {name} | {each.sparsity:.1%} | {each.runs} | {100 * each.drop:+.2f} "
            f"| {held} (of {each.held_samples}) | {each.seconds:.0f} | {each.one_run:.0f} "
            f"| {each.ratio:.1f} | {each.verdict}{each.note and f' ({each.note})'} |"
        )
    for name in dict.fromkeys(each.model for each in found):
        both = [each for each in found if each.model == name]
        if len(both) < 2:
            continue
        n = sum(each.held_samples for each in both)
        drop = sum(each.held_samples * each.held_drop for each in both) / n
        error = np.hypot(*(each.held_samples * each.held_error / n for each in both))
        mean = f"{100 * drop:+.2f} ± {100 * error:.2f}"
        lines += [
            "",
            f"Drop of {name} on what each search never saw, mean of both: {mean} (of {n})",
        ]
    (folder / "bench_targets.md").write_text("\n".join([*lines, ""]))


def main() -> None:
    """Search for every model that is named, and write the results of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True, help="folder made by tools/zoo.py")
    parser.add_argument("--models", default=",".join(SPARSITIES), help="names, comma separated")
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--turned", action="store_true", help="search on the other half")
    parser.add_argument("--out", type=Path, default=Path("tools/results"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    store = arguments.out / "bench_targets.json"
    found = {(each.model, each.turned): each for each in load_rows(store, Search)}
    for name in arguments.models.split(","):
        one = search(name, arguments.zoo, arguments.max_drop, arguments.turned)
        found[name, one.turned] = one
        print(asdict(one), one.verdict, flush=True)
        save_rows(store, found.values())
    write(arguments.out, list(found.values()))


if __name__ == "__main__":
    main()
