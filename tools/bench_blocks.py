"""Score pruned networks without and with ``--refit-blocks``, and measure what that costs.

    python tools/zoo.py --out ZOO
    python tools/bench_blocks.py --zoo ZOO [--only ppocr-cls,...] [--again] [--keep FOLDER]

Every case is one network at one sparsity, pruned with the options that its row names, on one core
in a process of its own. The run with blocks takes its layers from the cache of the run without, so
both have the same zeros and weights in front of the blocks. Scores are those of test samples that
no run saw, with the standard error of the paired difference; errors are those on held-out samples.
*Time* is the CPU seconds of the run and of the blocks over those of the run. Cases are kept in
``OUT/bench_blocks.json``, so that a run that was stopped goes on; ``OUT/bench_blocks.md`` is the
table. ``--keep`` leaves the networks without blocks in a folder.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from bench_models import open_subject, output_error, pack, unpack
from kept_rows import load_rows, save_rows

HERE = Path(__file__).parents[1]
DEFAULTS: dict[str, Any] = {}
QUICK = {"allocation": "uniform", "effort": "fast"}
PLACES = (
    ("ppocr-cls", 0.7, DEFAULTS),
    ("ppocr-cls", 0.8, DEFAULTS),
    ("ppocr-rec", 0.8, DEFAULTS),
    ("efficientnet-lite0", 0.5, QUICK),
    ("efficientnet-lite0", 0.7, DEFAULTS),
    ("minilm-l3", 0.9, DEFAULTS),
    ("minilm-l3", 0.95, DEFAULTS),
    ("magika", 0.85, DEFAULTS),
    ("magika", 0.9, DEFAULTS),
)
WITHIN = 2.0  # times the run that it may take with its blocks


@dataclass(frozen=True)
class Case:
    """One network without and with blocks: pairs have the figure without first.

    ``run`` and ``blocks`` are CPU seconds; ``errors`` are on held-out samples, ``fresh`` on test
    samples; ``hits`` say which of these come out right, as bench_models.pack() has it.
    """

    model: str
    sparsity: float
    options: Mapping[str, Any]
    commit: str
    spans: int
    fitted: int
    is_kept: bool
    run: float
    blocks: float
    errors: tuple[float, float]
    fresh: tuple[float, float]
    hits: tuple[str, str] = field(repr=False)

    @property
    def key(self) -> str:
        """What was asked."""
        return key_of(self.model, self.sparsity, self.options)

    @property
    def ratio(self) -> float:
        """Time with blocks over that without."""
        return (self.run + self.blocks) / self.run

    @property
    def scores(self) -> tuple[float, float, float, float]:
        """Without and with blocks, the gain and its standard error."""
        one, other = (unpack(text).astype(float) for text in self.hits)
        gap = other - one
        error = gap.std(ddof=1) / math.sqrt(gap.size)
        return float(one.mean()), float(other.mean()), float(gap.mean()), float(error)


def key_of(model: str, sparsity: float, options: Mapping[str, Any]) -> str:
    """Return what was asked, in words."""
    return " ".join([model, f"{sparsity:.0%}", *map(str, options.values())])


def run_here(place: int, folder: Path, keep: Path | None) -> Case:
    """Prune without and with blocks in this process, and score both."""
    import onnx_lobs
    from onnx_lobs.verbs import rounds

    model, sparsity, options = PLACES[place]
    subject = open_subject(model, folder)
    told = Timed(rounds.refit_blocks)
    rounds.refit_blocks = told  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as cache:
        asked = {**options, "sparsity": sparsity, "cache": Path(cache)}
        started = time.process_time()
        alone = onnx_lobs.prune(subject.path, dict(subject.calibration), **asked)
        seconds = time.process_time() - started
        both = onnx_lobs.prune(subject.path, dict(subject.calibration), refit_blocks=True, **asked)
    if keep is not None:
        onnx.save(alone.model, keep / f"{key_of(model, sparsity, options)}.onnx")
    # judge
    networks = (alone.model, both.model)
    dense = onnx.load(subject.path)
    record = both.report.blocks
    assert record is not None
    hits = [pack(subject.hits(ort.InferenceSession(m.SerializeToString()))) for m in networks]
    fresh = [output_error(dense, each, subject) for each in networks]
    return Case(
        model, sparsity, options, commit(), record.spans, record.fitted, record.is_kept,
        seconds, told.seconds, (record.error_before, record.error_after), tuple(fresh), tuple(hits),
    )  # fmt: skip


class Timed:
    """A function that adds up the CPU seconds of its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        started = time.process_time()
        found = self.function(*arguments)
        self.seconds += time.process_time() - started
        return found


def commit() -> str:
    """Return the commit that is measured."""
    asked = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def load_cases(store: Path) -> dict[str, Case]:
    """Return the cases that were run, by key."""
    return {case.key: case for case in load_rows(store, Case)}


def table(cases: Mapping[str, Case]) -> str:
    """Return the cases as Markdown."""
    lines = [
        "# Blocks: without and with `--refit-blocks`",
        "",
        "Made by `tools/bench_blocks.py`; see its head.",
        "",
        "| network | zeros | options | parts nearer | held-out error | error on test samples "
        "| score without | with | gain | CPU s of the run | time | |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    wanted = [key_of(*place) for place in PLACES]
    known = sorted(cases.values(), key=lambda case: wanted.index(case.key))
    return "\n".join([*lines, *(_row(case) for case in known)]) + "\n"


def _row(case: Case) -> str:
    before, after, gain, error = case.scores
    verdict = "gain" if gain >= error > 0 else "loss" if -gain > error else "level"
    cells = (
        case.model, f"{case.sparsity:.0%}", " ".join(map(str, case.options.values())) or "defaults",
        f"{case.fitted} of {case.spans}" + (", not kept" if not case.is_kept else ""),
        " -> ".join(f"{value:.4f}" for value in case.errors),
        " -> ".join(f"{value:.4f}" for value in case.fresh),
        f"{before:.3f}", f"{after:.3f}", f"{gain:+.3f} ± {error:.3f}", f"{case.run:.0f}",
        f"{case.ratio:.2f}", verdict + (", slow" if case.ratio > WITHIN else ""),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--only", default="", help="beginnings of cases, comma separated")
    parser.add_argument("--again", action="store_true", help="run cases that are known too")
    parser.add_argument("--keep", type=Path, help="folder for the networks without blocks")
    parser.add_argument("--out", type=Path, default=HERE / "tools" / "results")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(asdict(run_here(given.one, given.zoo, given.keep))))
        return
    store = given.out / "bench_blocks.json"
    cases = load_cases(store)
    for place, asked in enumerate(PLACES):
        key = key_of(*asked)
        if not key.startswith(tuple(given.only.split(","))) or (key in cases and not given.again):
            continue
        keep = ["--keep", str(given.keep)] if given.keep else []
        command = [sys.executable, __file__, "--zoo", str(given.zoo), *keep, "--one", str(place)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        # read again: another of these may run beside it
        cases = {**load_cases(store), key: Case(**json.loads(done.stdout.splitlines()[-1]))}
        print(_row(cases[key]), flush=True)
        save_rows(store, cases.values())
    (given.out / "bench_blocks.md").write_text(table(cases))


if __name__ == "__main__":
    main()
