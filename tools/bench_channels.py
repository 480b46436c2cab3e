"""Remove whole channels from networks, with onnxsim 0.8.1's structured pruning at equal work.

    python tools/zoo.py --out ZOO
    python tools/bench_channels.py --zoo ZOO [--models ppocr-cls,...] [--shares 0.1,...]
    python tools/bench_channels.py --zoo ZOO --methods onnxsim-wanda --shares 0.1,0.3
    python tools/bench_channels.py --report

Every case is one network, one method and one share of the multiplications of what can lose
channels. ``onnx-lobs`` runs with its defaults; ``uniform`` takes the same share of each group, and
``latency`` that share of the milliseconds. onnxsim's methods remove as many channels as bring the
network to as many multiplications as ``onnx-lobs`` left, found by bisection, never fewer, from a
model that onnxsim simplified first; their interpreter needs onnxsim 0.8.1.

Scores are those of ``tools/zoo.py``, on samples that no method saw; the networks of
``tools/make_small_networks.py`` have random weights and no score. Latencies are the least of
runs of one sample that take turns with the dense network's, on one thread: time on the processor,
so that other programs do not count. Cases are kept in ``OUT/bench_channels.json``; what is there is
not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import make_small_networks
import numpy as np
import onnx
import zoo
from bench_channels_report import write_report
from bench_models import BATCH, lift_constants
from kept_rows import load_rows, save_rows
from zoo_model import open_session

from onnx_lobs.arrays import Feeds
from onnx_lobs.graph.model import Model
from onnx_lobs.graph.run.latency import latencies
from onnx_lobs.layers.channels.coupling import find_coupling
from onnx_lobs.layers.channels.observed import observe
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.verbs.prune import prune_file

OWN: dict[str, dict[str, Any]] = {
    "onnx-lobs": {},
    "uniform": {"allocation": "uniform"},
    "latency": {"budget": "latency"},
}
RIVALS = ("onnxsim-l2", "onnxsim-wanda")
SHARES = (0.1, 0.2, 0.3, 0.5)
HALVINGS = 12
OPENVINO_ROUNDS = 40


@dataclass(frozen=True)
class Subject:
    """A network, its calibration samples by input, and what scores a file."""

    path: Path
    data: Path
    feeds: Feeds
    score: Callable[[Path], float | None]


@dataclass(frozen=True)
class Case:
    """What was asked, and what came out: pairs are of the dense network and of the smaller one."""

    model: str
    method: str
    share: float
    multiplications: tuple[int, int] = (0, 0)
    score: tuple[float, float] | None = None
    output_error: float | None = None
    bytes: tuple[int, int] | None = None
    milliseconds: tuple[float, float] | None = None
    openvino: tuple[float, float] | None = None
    seconds: float | None = None
    note: str = ""

    @property
    def key(self) -> str:
        """What was asked."""
        return f"{self.model} {self.method} {self.share:g}"


def open_subject(name: str, folder: Path) -> Subject:
    """Return a network of the zoo, or one with random weights, which is made if it is missing."""
    data = folder / f"{name}_calibration.npz"
    if name in make_small_networks.NETWORKS:
        path = folder / f"{name}.onnx"
        if not path.exists():
            make_small_networks.make(name, folder)
        with np.load(data) as arrays:
            feeds = {key: arrays[key] for key in arrays.files}
        return Subject(path, data, feeds, lambda _: None)
    model = zoo.load(name, folder)
    return Subject(
        model.path, data, model.calibration, lambda path: model.score(open_session(path))
    )


def multiplications(proto: onnx.ModelProto, feeds: Feeds) -> int:
    """Return the multiplications of all products of a network on some samples."""
    counted = find_coupling(observe(Model(proto, None), feeds)).counted
    return sum(node.multiplications for node in counted)


def run_own(case: Case, subject: Subject, output: Path) -> Case:
    """Remove channels with onnx-lobs."""
    config = PruneConfig(pattern="channels", sparsity=case.share, **OWN[case.method])
    report = prune_file(subject.path, output, config, data=subject.data)
    return dataclasses.replace(
        case, output_error=report.output.error, seconds=report.totals.seconds
    )


def run_rival(case: Case, subject: Subject, output: Path, wanted: float) -> Case:
    """Remove channels with onnxsim until a share `wanted` of all multiplications is left."""
    import onnxsim

    one = _some(subject.feeds, 1)
    count = len(next(iter(subject.feeds.values())))
    batches = [
        {name: value[i : i + BATCH] for name, value in subject.feeds.items()}
        for i in range(0, count, BATCH)
    ]
    apply: Callable[..., onnx.ModelProto] = onnxsim.apply_structured_pruning
    if case.method == "onnxsim-wanda":
        apply = partial(onnxsim.apply_structured_wanda_pruning, calibration_data=batches)
    dense, _ = onnxsim.simplify(lift_constants(onnx.load(subject.path)))
    whole, started = multiplications(dense, one), time.perf_counter()
    # without calibration: which channels go decides, how many is the same
    left, low, high = {}, 0.0, 0.99
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        smaller = onnxsim.apply_structured_pruning(dense, sparsity=middle)
        left[middle] = multiplications(smaller, one) / whole
        low, high = (middle, high) if left[middle] >= wanted else (low, middle)
    onnx.save(apply(dense, sparsity=low), output)
    note = "" if left.get(low, 1.0) < wanted + 0.1 else "removes no more"
    return dataclasses.replace(case, seconds=time.perf_counter() - started, note=note)


def run(case: Case, folder: Path, known: Mapping[str, Case]) -> Case:
    """Run a case and measure its file."""
    subject = open_subject(case.model, folder)
    one = _some(subject.feeds, 1)
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "small.onnx"
        if case.method in OWN:
            case = run_own(case, subject, output)
        else:
            own = known.get(f"{case.model} onnx-lobs {case.share:g}")
            if own is None:
                raise SystemExit(f"run onnx-lobs first: {case.key} takes its multiplications")
            before, after = own.multiplications
            case = run_rival(case, subject, output, after / before)
        protos = [onnx.load(path) for path in (subject.path, output)]
        work = [multiplications(proto, one) for proto in protos]
        times = latencies(protos[0], protos[1], one)
        scores = [subject.score(path) for path in (subject.path, output)]
        return dataclasses.replace(
            case,
            multiplications=(work[0], work[1]),
            score=None if None in scores else tuple(scores),
            bytes=(subject.path.stat().st_size, output.stat().st_size),
            milliseconds=times and tuple(1000 * each for each in times),
            openvino=_openvino([subject.path, output], one),
        )


def _some(feeds: Feeds, count: int) -> dict[str, Any]:
    return {name: value[:count] for name, value in feeds.items()}


def _openvino(paths: list[Path], feeds: Feeds) -> tuple[float, float] | None:
    """Return the milliseconds of two files in OpenVINO on one thread; None: it is not there."""
    try:
        import openvino
    except ImportError:
        return None
    core, requests, best = openvino.Core(), [], [float("inf"), float("inf")]
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    for path in paths:
        model = core.read_model(path)
        model.reshape({name: list(value.shape) for name, value in feeds.items()})
        requests.append(core.compile_model(model, "CPU", settings).create_infer_request())
    for _ in range(OPENVINO_ROUNDS):
        for place, request in enumerate(requests):
            started = time.process_time()
            request.infer(dict(feeds))
            best[place] = min(best[place], 1000 * (time.process_time() - started))
    return best[0], best[1]


def load_cases(path: Path) -> dict[str, Case]:
    """Return the cases that were run, by key."""
    return {case.key: case for case in load_rows(path, Case)}


def main() -> None:
    """Run the cases that are asked for and not yet known, and write the report."""
    networks = (*zoo.NAMES, *make_small_networks.NETWORKS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, help="folder made by tools/zoo.py")
    parser.add_argument("--models", default=",".join(networks), help="names, comma separated")
    parser.add_argument("--methods", default="onnx-lobs", help=f"of {', '.join((*OWN, *RIVALS))}")
    parser.add_argument("--shares", default=",".join(map(str, SHARES)))
    parser.add_argument("--out", type=Path, default=Path("tools/results"))
    parser.add_argument("--again", action="store_true", help="run cases that are known too")
    parser.add_argument("--report", action="store_true", help="run nothing")
    given = parser.parse_args()
    store = given.out / "bench_channels.json"
    names = [] if given.report else given.models.split(",")
    for name in names:
        for share in map(float, given.shares.split(",")):
            for method in given.methods.split(","):
                case, known = Case(name, method, share), load_cases(store)
                if case.key in known and not given.again:
                    continue
                done = run(case, given.zoo, known)
                # read again: another of these may run beside it
                cases = {**load_cases(store), done.key: done}
                save_rows(store, [cases[key] for key in sorted(cases)])
                print(json.dumps(asdict(done)), flush=True)
    write_report(given.out, [asdict(case) for case in load_cases(store).values()])


if __name__ == "__main__":
    main()
