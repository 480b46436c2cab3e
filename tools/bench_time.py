"""Measure how long default runs take, and what their networks score, before and after a change.

    python tools/zoo.py --out ZOO
    git worktree add BEFORE COMMIT
    python tools/bench_time.py --zoo ZOO --before BEFORE [--models ppocr-cls,...] [--report]

Every case is one network of CASES at one sparsity, pruned with the defaults by the package in
BEFORE and by the one here, each in a process of its own on one core, one directly after the other.
Times are CPU seconds of that process, because others may use the machine; *trials* are all of it
that measures layers, tries allocations and compares them. Scores are those of test samples that no
run saw, with the standard error of the paired difference. Cases are kept in
``OUT/bench_time.json``, so a run that was stopped goes on; ``OUT/bench_time.md`` is the table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kept_rows import load_rows, save_rows

HERE = Path(__file__).parents[1]
CASES = {
    "ppocr-cls": 0.5,
    "magika": 0.7,
    "minilm-l3": 0.9,
    "ppocr-rec": 0.5,
    "efficientnet-lite0": 0.4,
}
# parts of the phases' names, today's and those before stages were counted
TRIALS = ("choosing the allocation", "measuring layers", "trying ", "comparing ")
TREES = ("before", "after")


@dataclass(frozen=True)
class Case:
    """One run: CPU seconds in all and by phase, and what its network scores."""

    model: str
    sparsity: float
    tree: str
    seconds: float
    phases: Mapping[str, float]
    chosen: str
    hits: str  # which test samples come out right, as bench_models.pack() has it

    @property
    def trials(self) -> float:
        """CPU seconds of measurements, trials and finals."""
        return sum(
            seconds
            for phase, seconds in self.phases.items()
            if any(name in phase for name in TRIALS)
        )


class PhaseTimes:
    """A Progress that adds up the CPU seconds of every phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._phase, self._since = "opening", time.process_time()

    def start(self, phase: str, total: int) -> None:
        """Begin a phase, which ends the one before."""
        now = time.process_time()
        self.seconds[self._phase] += now - self._since
        self._phase, self._since = phase, now

    def advance(self, n: int = 1) -> None:
        """Ignore."""


def run_here(model: str, tree: str, zoo_folder: Path) -> Case:
    """Prune a network with the package that is imported, and score it."""
    import onnxruntime as ort
    import zoo
    from bench_models import pack

    import onnx_lobs

    subject, told = zoo.load(model, zoo_folder), PhaseTimes()
    started = time.process_time()
    found = onnx_lobs.prune(
        subject.path, dict(subject.calibration), sparsity=CASES[model], progress=told
    )
    seconds = time.process_time() - started
    told.start("", 0)
    session = ort.InferenceSession(found.model.SerializeToString())
    record = found.report.allocation
    return Case(
        model, CASES[model], tree, seconds, dict(told.seconds),
        record.chosen if record is not None else "", pack(subject.hits(session)),
    )  # fmt: skip


def run_apart(model: str, tree: str, package: Path, zoo_folder: Path, core: int) -> Case:
    """Run a case in a process of its own, on one core."""
    environment = {**os.environ, "PYTHONPATH": str(package), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--zoo", str(zoo_folder), "--one", f"{model},{tree}"]

    def pin() -> None:
        os.sched_setaffinity(0, {core})

    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, check=True, preexec_fn=pin
    )
    return Case(**json.loads(done.stdout.splitlines()[-1]))


def table(cases: Mapping[str, Case]) -> str:
    """Return the cases that were measured with both trees, in Markdown."""
    lines = [
        "| network | zeros | CPU s before | after | ratio | of it trials before | after "
        "| score before | after | difference |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for model, sparsity in CASES.items():
        pair = [cases.get(f"{model} {tree}") for tree in TREES]
        if pair[0] is not None and pair[1] is not None:
            lines.append(_row(model, sparsity, pair[0], pair[1]))
    return "\n".join(lines) + "\n"


def _row(model: str, sparsity: float, before: Case, after: Case) -> str:
    from bench_models import unpack

    one, other = unpack(before.hits).astype(float), unpack(after.hits).astype(float)
    gap = other - one
    error = gap.std(ddof=1) / math.sqrt(gap.size)
    cells = (
        model, f"{sparsity:.0%}", f"{before.seconds:.0f}", f"{after.seconds:.0f}",
        f"{after.seconds / before.seconds:.2f}", f"{before.trials:.0f}", f"{after.trials:.0f}",
        f"{one.mean():.3f}", f"{other.mean():.3f}", f"{gap.mean():+.3f} ± {error:.3f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="folder that holds the package of before")
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "tools" / "results")
    parser.add_argument("--report", action="store_true", help="only write the table")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(asdict(run_here(*given.one.split(","), given.zoo))))
        return
    kept = given.out / "bench_time.json"
    cases = {f"{case.model} {case.tree}": case for case in load_rows(kept, Case)}
    packages = {"before": given.before, "after": HERE}
    for model in () if given.report else given.models.split(","):
        for tree, package in packages.items():
            if package is None or f"{model} {tree}" in cases:
                continue
            case = run_apart(model, tree, package, given.zoo, given.core)
            cases[f"{model} {tree}"] = case
            print(f"{model} {tree}: {case.seconds:.1f} s, trials {case.trials:.1f} s", flush=True)
            save_rows(kept, cases.values())
    (given.out / "bench_time.md").write_text(f"# Time of default runs\n\n{table(cases)}")


if __name__ == "__main__":
    main()
