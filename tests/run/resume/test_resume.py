"""An interrupted run goes on where it was; what comes out has the bytes of an undisturbed one."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_onnx import model, normal, tensor, value
from onnx import ModelProto, helper

import onnx_lobs
from onnx_lobs.run import schedule, solve_all
from onnx_lobs.run.networks import Networks
from onnx_lobs.search import plan
from onnx_lobs.verbs.prune import PruneResult

NODE = helper.make_node
FEEDS = {"x": normal(0, 90, 16)}  # of fewer other fits judge each
MODES: list[dict[str, Any]] = [
    {"sequential": True},
    {"sequential": False},
    {"method": "magnitude", "sequential": False},
    {"method": "lobs", "sequential": True},
    {"allocation": "auto"},
    {"allocation": "global", "sequential": False},
]


def network() -> ModelProto:
    """Two layers on one tap, then two after each other, the first with a bias."""
    nodes = [
        NODE("MatMul", ["x", "w1"], ["a"], name="one"),
        NODE("MatMul", ["x", "w2"], ["b"], name="two"),
        NODE("Relu", ["a"], ["ra"]),
        NODE("Mul", ["ra", "b"], ["p"]),
        NODE("Gemm", ["p", "w3", "b3"], ["c"], name="three"),
        NODE("Relu", ["c"], ["d"]),
        NODE("MatMul", ["d", "w4"], ["y"], name="four"),
    ]
    weights = {
        "w1": normal(1, 16, 12), "w2": normal(2, 16, 12), "w3": normal(3, 12, 10),
        "b3": normal(4, 10), "w4": normal(5, 10, 8),
    }  # fmt: skip
    return model(nodes, [value("x", [None, 16])], ["y"], weights)


def prune(cache: Path | None, proto: ModelProto | None = None, **options: Any) -> PruneResult:
    folder = None if cache is None else str(cache)
    defaults = {"batch_size": 10, "sparsity": 0.6, "cache": folder, "allocation": "uniform"}
    options = defaults | options
    data = options.pop("data", FEEDS)
    return onnx_lobs.prune(network() if proto is None else proto, data, **options)


def bytes_of(result: PruneResult) -> bytes:
    return bytes(result.model.SerializeToString(deterministic=True))


class Count:
    """Counts the calls of the function that solves a layer and of the one that calibrates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.solved: list[str] = []
        self.calibrated: list[int] = []
        solve, calibrate = solve_all.solve_one, schedule.calibrate_independent

        def count_solved(setup: Any, networks: Any, layer: Any, *rest: Any) -> Any:
            self.solved.append(layer.name)
            return solve(setup, networks, layer, *rest)

        def count_calibrated(dense: Any, groups: Any, *args: Any, **options: Any) -> Any:
            self.calibrated.append(len(groups))
            return calibrate(dense, groups, *args, **options)

        monkeypatch.setattr(solve_all, "solve_one", count_solved)
        monkeypatch.setattr(schedule, "calibrate_independent", count_calibrated)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    return Count(monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("options", MODES)
def test_a_second_run_solves_nothing_and_gives_the_same(
    tmp_path: Path, count: Count, options: dict[str, Any]
) -> None:
    alone = prune(None, **options)
    first = prune(tmp_path, **options)
    count.solved.clear()
    count.calibrated.clear()
    second = prune(tmp_path, **options)
    assert not count.solved
    assert not count.calibrated
    assert bytes_of(alone) == bytes_of(first) == bytes_of(second)
    assert first.report.layers == second.report.layers
    assert second.report.warnings == alone.report.warnings  # none of the cache


@pytest.mark.slow
def test_another_sparsity_reuses_the_grams(tmp_path: Path, count: Count) -> None:
    options = {"sequential": False, "sparsity": 0.3}
    prune(tmp_path, sequential=False)
    count.calibrated.clear()
    found = prune(tmp_path, **options)
    assert not count.calibrated
    assert len(count.solved) == 8
    assert bytes_of(found) == bytes_of(prune(None, **options))


@pytest.mark.slow
def test_a_search_for_a_target_reuses_the_grams(tmp_path: Path, count: Count) -> None:
    options = {"sequential": False, "sparsity": None, "max_output_error": 0.05}
    prune(tmp_path, sequential=False)
    count.calibrated.clear()
    found = prune(tmp_path, **options)
    assert not count.calibrated
    assert bytes_of(found) == bytes_of(prune(None, **options))


@pytest.mark.slow
def test_grams_from_the_graph_are_other_grams(tmp_path: Path, count: Count) -> None:
    prune(tmp_path, sequential=False)
    count.calibrated.clear()
    first = prune(tmp_path, sequential=False, gram="graph")
    assert len(count.calibrated) == 1
    again = prune(tmp_path, sequential=False, gram="graph", sparsity=0.3)
    assert len(count.calibrated) == 1
    plain = [prune(None, sequential=False, gram="graph", sparsity=s) for s in (0.6, 0.3)]
    assert [bytes_of(first), bytes_of(again)] == [bytes_of(result) for result in plain]


@pytest.mark.slow
def test_memory_that_makes_it_run_in_stages_keeps_grams_too(
    tmp_path: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Networks, "is_staged", True)
    options = {"sequential": False, "sparsity": 0.3}
    plain = bytes_of(prune(None, **options))
    prune(tmp_path, sequential=False)
    n_entries = len(list(tmp_path.iterdir()))
    assert bytes_of(prune(tmp_path, **options)) == plain
    assert len(list(tmp_path.iterdir())) == n_entries + 4  # layers, no Gram
    assert not count.calibrated


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "solved"),
    [
        ({"data": {"x": normal(9, 60, 16)}}, 4), ({"batch_size": 12}, 4), ({"seed": 1}, 4),
        ({"damp": 0.5}, 4), ({"method": "magnitude"}, 4), ({"samples": 30}, 4), ({}, 0),
        ({"memory": 1 << 20}, 0),
    ],
)  # fmt: skip
def test_what_a_layer_depends_on_is_in_its_key(
    tmp_path: Path, count: Count, options: dict[str, Any], solved: int
) -> None:
    prune(tmp_path, sequential=True)
    count.solved.clear()
    prune(tmp_path, **{"sequential": True, **options})
    assert len(count.solved) == solved


@pytest.mark.slow
def test_another_model_is_solved_anew(tmp_path: Path, count: Count) -> None:
    prune(tmp_path)
    count.solved.clear()
    other = network()
    other.graph.initializer[0].raw_data = normal(8, 16, 12).tobytes()
    prune(tmp_path, other)
    assert len(count.solved) == 4


@pytest.mark.slow
def test_a_layer_that_is_missing_is_solved_after_those_before_it(
    tmp_path: Path, count: Count
) -> None:
    plain = bytes_of(prune(tmp_path, sequential=True))
    by_age = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for lost, name in zip(by_age, ("one", "two", "three", "four"), strict=True):
        lost.unlink()
        count.solved.clear()
        assert bytes_of(prune(tmp_path, sequential=True)) == plain
        assert count.solved == [name]


@pytest.mark.slow
@pytest.mark.parametrize("sequential", [False, True])
def test_damaged_entries_are_computed_anew_with_a_warning(tmp_path: Path, sequential: bool) -> None:
    plain = bytes_of(prune(tmp_path, sequential=sequential))
    entries = list(tmp_path.iterdir())
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:-7])
    found = prune(tmp_path, sequential=sequential)
    assert bytes_of(found) == plain
    assert len(found.report.warnings) >= len(entries)
    assert all("damaged or foreign" in warning for warning in found.report.warnings)
    assert not prune(tmp_path, sequential=sequential).report.warnings


CHILD = """
    import signal
    import sys
    # a shell lets its background jobs ignore it, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from pathlib import Path
    from onnx_lobs.options.config import PruneConfig
    from onnx_lobs.verbs.prune import prune_file
    from onnx_lobs.graph.files.load import load_model
    model, out, base, slow, mode = sys.argv[1:]
    from onnx_lobs.run import solve_all
    from onnx_lobs.memory import store
    import time
    solve = solve_all.solve_one
    store.SMALL = 0
    def slowly(*args):
        time.sleep(float(slow))
        return solve(*args)
    solve_all.solve_one = slowly
    config = PruneConfig(
        sparsity=0.6, batch_size=10, cache=f"{base}/cache", scratch=f"{base}/scratch",
        sequential=mode == "sequential",
    )
    print("ready", flush=True)
    prune_file(Path(model), Path(out), config, data=f"{base}/x.npy")
"""


class Child:
    """The network in a folder of its own, pruned by another process, a little slowly."""

    def __init__(self, base: Path, mode: str) -> None:
        self.base, self.mode = base, mode
        self.out = base / "out" / "p.onnx"
        for name in ("cache", "scratch", "out"):
            (base / name).mkdir(parents=True)
        onnx.save(
            network(), base / "m.onnx", save_as_external_data=True, location="m.data",
            size_threshold=64,
        )  # fmt: skip
        np.save(base / "x.npy", FEEDS["x"])

    def start(self, slow: float = 0.0) -> subprocess.Popen[bytes]:
        """Start it, and wait until its imports are done."""
        arguments = [str(self.base / "m.onnx"), str(self.out), str(self.base), str(slow)]
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), *arguments, self.mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.stdout.close()
        return child

    def written(self) -> dict[str, bytes]:
        """Return the files of the result."""
        return {path.name: path.read_bytes() for path in self.out.parent.iterdir()}


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, for at most 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "independent"])
def test_killed_at_several_moments_and_resumed_it_gives_the_same_bytes(
    tmp_path: Path, mode: str
) -> None:
    undisturbed, killed = Child(tmp_path / "a", mode), Child(tmp_path / "b", mode)
    assert undisturbed.start().wait() == 0
    rng = np.random.default_rng(0)
    for n_entries in (0, 1, 2, 2, 3):
        child = killed.start(slow=0.3)
        wait_for(lambda n=n_entries: len(list((killed.base / "cache").glob("*.npz"))) >= n)
        time.sleep(rng.uniform(0, 0.25))
        child.kill()
        child.wait()
        assert not list(killed.out.parent.iterdir())
    assert killed.start().wait() == 0
    assert killed.written() == undisturbed.written()
    assert not list((killed.base / "scratch").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_scratch(tmp_path: Path, number: signal.Signals) -> None:
    child = Child(tmp_path / "a", "sequential")
    process = child.start(slow=0.5)
    wait_for(lambda: list((child.base / "scratch").iterdir()))
    process.send_signal(number)
    assert process.wait() != 0
    assert not list((child.base / "scratch").iterdir())
    assert not list(child.out.parent.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("option", ["layer_sparsity", "layer_min", "layer_max"])
def test_of_several_patterns_their_order_is_in_the_key(tmp_path: Path, option: str) -> None:
    values = [("*", 0.5), ("one", 0.9 if option != "layer_max" else 0.55)]
    options = {"allocation": "uniform", "sparsity": 0.8 if option == "layer_min" else 0.45}
    for pairs in (values, values[::-1]):
        plain = bytes_of(prune(None, **options, **{option: dict(pairs)}))
        assert bytes_of(prune(tmp_path, **options, **{option: dict(pairs)})) == plain


@pytest.mark.slow
def test_how_zeros_are_stored_is_in_the_key_of_a_budget_of_bytes(tmp_path: Path) -> None:
    def mixed() -> ModelProto:
        proto = network()
        cast = [NODE("Cast", ["w4"], ["wide"], to=onnx.TensorProto.FLOAT)]
        (half,) = [t for t in proto.graph.initializer if t.name == "w4"]
        half.CopyFrom(tensor("w4", normal(5, 10, 8).astype(np.float16)))
        proto.graph.node[-1].input[1] = "wide"
        nodes = [*cast, *proto.graph.node]
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
        return proto

    for storage in ("dense", "sparse"):
        options = {"budget": "bytes", "allocation": "global", "storage": storage}
        plain = bytes_of(prune(None, mixed(), **options))
        assert bytes_of(prune(tmp_path, mixed(), **options)) == plain


@pytest.mark.slow
def test_a_resumed_search_goes_on_with_the_kind_of_allocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[float] = []
    try_all = plan.try_all

    def counted(measured: Any, sparsity: float, *rest: Any) -> Any:
        searched.append(sparsity)
        return try_all(measured, sparsity, *rest)

    monkeypatch.setattr(plan, "try_all", counted)
    options = {"allocation": "auto", "sparsity": None, "max_output_error": 0.05}
    plain = bytes_of(prune(tmp_path, **options))
    assert len(searched) == 1
    # as if it had been killed in its second choice
    plans = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    with_zeros = [path for path in plans if b'"allocation"' in path.read_bytes()]
    assert len(with_zeros) > 1
    for path in with_zeros[1:]:
        path.unlink()
    searched.clear()
    assert bytes_of(prune(tmp_path, **options)) == plain
    assert not searched
