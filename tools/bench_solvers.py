"""Compare all solvers on a layer set: error, held-out error, time, memory.

``python tools/bench_solvers.py --set DIR [--quick] [--check] ...``, DIR from tools/bench_layers.py.

Every case, one layer x method x pattern x sparsity, runs in a forked child with ``--threads`` BLAS
threads and processors, and is killed with its children after ``--timeout`` seconds. Once a method
timed out, higher sparsities of that pattern on that layer are recorded as "not run", as is
everything after ``--budget`` seconds. Errors are tr(D H Dᵀ) / tr(W H Wᵀ), D the change of W, about
the mean of the inputs. Seconds are wall time from the arrays to the solution, the best of 3 where
one takes less than 0.3. Peak MB is the child's ru_maxrss less its value before the solve, plus
threads x that of the largest worker process if the method starts any; total MB is the same with
the interpreter and the layer. ``rates`` of exact-obs are flops per second of square products,
measured right after it. ``slow-admm`` is a yardstick of this file's own: ADMM with a slowly growing
penalty and the exact refit. ``joint:EFFORT`` passes the effort on, ``joint`` none.

Results go to ``OUT/solvers.json`` after every layer and to ``OUT/solvers.md``; ``--check`` tests
what is promised of the default method. ``--resume`` keeps what is there: of the cases that
``--layers``, ``--methods``, ``--patterns`` and ``--sparsity`` ask for, it runs those that have no
result yet or one of another state of the method's source (``code``, a digest of its file and of
those it imports); all others stay as they are and are counted in the report.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import hashlib
import importlib
import inspect
import json
import multiprocessing as mp
import os
import platform
import resource
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from bench_layers import BenchLayer, load_layer, select_files
from bench_report import ADMM, FREE, LONG, Case, Table, case_key, checks, summary, write
from threadpoolctl import threadpool_limits

import onnx_lobs
from onnx_lobs.errors import LobsError
from onnx_lobs.linalg import compiled
from onnx_lobs.patterns import parse_pattern
from onnx_lobs.solvers import METHODS, LayerFilter, Problem, Solution, refit_mask, solve
from onnx_lobs.solvers.elimination.elimination import eliminate
from onnx_lobs.solvers.solution import conclude

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
BLOCK_SPARSITIES = (0.5, 0.7, 0.9)
PATTERNS = (FREE, "2:4", "4:8", "1:4", "1x4", "4x1")
QUICK = {"sparsity": "0.5,0.9", "patterns": f"{FREE},2:4,4x1", "timeout": 60.0, "largest": 150_000}


def method_names() -> list[str]:
    """Return the columns of the comparison: the table, the efforts of joint, the yardstick."""
    known = _parameters()
    efforts = [f"joint:{effort}" for effort in ("fast", "best")] if "effort" in known else []
    return [*METHODS, *efforts, ADMM]


def _parameters() -> set[str]:
    fields = {field.name for field in dataclasses.fields(Problem)}
    return fields | set(inspect.signature(solve).parameters)


def pose(layer: BenchLayer, method: str, pattern: str, sparsity: float) -> tuple[Problem, Case]:
    """Return the problem, and the further arguments of ``solve``, as far as they exist."""
    chosen = parse_pattern(pattern)
    name, _, effort = method.partition(":")
    extra: Case = {"mean": layer.mean, "count": layer.count, "effort": effort or "default"}
    fields = {field.name for field in dataclasses.fields(Problem)}
    options = {key: value for key, value in extra.items() if key in fields}
    accepted = inspect.signature(solve).parameters
    problem = Problem(
        layer.weight,
        layer.hessian,
        chosen.closest(layer.weight.shape, sparsity, layer.kernel_size),
        pattern=chosen,
        kernel_size=layer.kernel_size,
        damp=layer.damp,
        **options,
    )
    rest = {key: value for key, value in extra.items() if key in accepted and key not in fields}
    return problem, rest | {"method": name}


def slow_admm(problem: Problem) -> Solution:
    """Solve by ADMM on the support, rho from 0.1 growing by 1.03 to 1.05 a step of three."""
    matrix = problem.damped.matrix
    scale = np.sqrt(np.diagonal(matrix, axis1=1, axis2=2))[:, None, :]
    values, basis = np.linalg.eigh(matrix / (scale.swapaxes(1, 2) * scale))
    values, basis = values[:, None, :].astype(np.float32), basis.astype(np.float32)
    target = (problem.target / scale).astype(np.float32)
    fixed = (problem.weight * scale).astype(np.float32)
    dual, rho, smaller = np.zeros_like(fixed), 0.1, min(problem.n_prune, fixed.size) + 1
    before = mask = np.ones(fixed.shape, dtype=bool)
    for step in range(1, 401):
        free = ((target - dual + rho * fixed) @ basis / (values + rho)) @ basis.swapaxes(1, 2)
        fixed = free + dual / rho
        scores = problem.protect_live(np.square(fixed))
        mask = problem.pattern.select(scores, problem.n_prune, problem.kernel_size)
        fixed = fixed * mask
        dual += rho * (free - fixed)
        if step % 3 == 0:
            moved = np.count_nonzero(mask != before) / 2
            if moved == 0:
                break
            before = mask
            rho *= 1.05 if moved > 0.005 * smaller else 1.03
    return conclude(problem, LayerFilter(mask), refit_mask(problem, mask))


def run_case(layer: BenchLayer, method: str, pattern: str, sparsity: float) -> Case:
    """Solve one case in this process and return its figures; what compiling takes is left out."""
    eliminate(np.eye(2, dtype=np.float32)[None], np.ones((1, 1, 2), np.float32), 1)
    fastest, began = np.inf, time.perf_counter()
    for _ in range(3):
        start = time.perf_counter()
        problem, options = pose(layer, method, pattern, sparsity)
        solution = slow_admm(problem) if method == ADMM else solve(problem, **options)
        fastest = min(fastest, time.perf_counter() - start)
        if time.perf_counter() - began > 0.3:
            break
    zeros = int(np.count_nonzero(~solution.mask))
    exact = zeros == problem.n_prune and problem.pattern.obeys(solution.mask, layer.kernel_size)
    held = layer.relative_error(solution.weight, held=True) if layer.held_count else None
    return {
        "status": solution.status.value if exact else "WRONG ZEROS",
        "error": layer.relative_error(solution.weight, held=False),
        "held": held,
        "seconds": fastest,
        "zeros": zeros,
        "info": {key: str(value) for key, value in solution.info.items()},
    }


def _child(pipe: Connection, arguments: tuple[Any, ...], threads: int) -> None:
    os.setpgid(0, 0)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    with threadpool_limits(threads):
        warm = np.ones((512, 512), dtype=np.float32)
        warm @ warm
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            case = run_case(*arguments)
        except (LobsError, MemoryError, np.linalg.LinAlgError) as error:
            case = {"status": f"{type(error).__name__}: {error}"[:200]}
    total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    extra = threads * max(worker - before, 0) if worker else 0
    case |= {"peak_mb": (total - before + extra) / 1024, "total_mb": (total + extra) / 1024}
    layer, method, *_ = arguments
    if method == "exact-obs" and layer.weight.shape[2] >= LONG and "seconds" in case:
        with threadpool_limits(threads):
            case["rates"] = gemm_rates()
    pipe.send(case)


def in_child(arguments: tuple[Any, ...], threads: int, timeout: float) -> Case:
    """Run a case in a child that may be killed."""
    context = mp.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(writer, arguments, threads))
    process.start()
    writer.close()
    try:
        case = reader.recv() if reader.poll(timeout) else {"status": "timeout", "seconds": timeout}
    except EOFError:
        case = {"status": "died"}
    process.join(0 if case["status"] == "timeout" else 10)
    if process.is_alive() and process.pid:
        with suppress(ProcessLookupError):  # killed before it had made its own process group
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
    return case


def gemm_rates(size: int = 2048) -> Case:
    """Return flops per second of square products, in this process, now."""
    rates: Case = {}
    for dtype in (np.float32, np.float64):
        matrix = np.ones((size, size), dtype=dtype)
        best = np.inf
        for _ in range(4):
            start = time.perf_counter()
            matrix @ matrix
            best = min(best, time.perf_counter() - start)
        rates[np.dtype(dtype).name] = 2 * size**3 / best
    return rates


@functools.cache
def digest_code(method: str) -> str:
    """Return a digest of the source that decides a method's results.

    That is its own file, those of the project that it imports, and theirs; without the table of
    all methods, which imports every method.
    """
    entry = METHODS.get(method.partition(":")[0])
    own = slow_admm if entry is None else entry.function
    table = solve.__module__
    left = {thing.__module__ for thing in (own, refit_mask, conclude)} - {__name__}
    seen: dict[str, str] = {}
    while left:
        name = left.pop()
        seen[name] = inspect.getsource(importlib.import_module(name))
        left |= imported(seen[name]) - seen.keys() - {table}
    texts = [inspect.getsource(own), *(seen[name] for name in sorted(seen))]
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:8]


def imported(source: str) -> set[str]:
    """Return the project's modules that a source imports, packages left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {name: Path(*name.split(".")).with_suffix(".py") for name in found}
    home = Path(onnx_lobs.__file__).parents[1]
    return {name for name, file in files.items() if (home / file).is_file()}


def is_current(case: Case, code: str) -> bool:
    """Return whether a case has a result, or cannot have one, and is of this code."""
    return case.get("code") == code and ("error" in case or case.get("status") == "not able")


def settings(patterns: Iterable[str], sparsities: Iterable[float]) -> Iterator[tuple[str, float]]:
    """Yield (pattern, sparsity); N:M has one, blocks those also in BLOCK_SPARSITIES."""
    for pattern in patterns:
        shape = parse_pattern(pattern)
        if shape.own_sparsity is not None:
            yield pattern, shape.own_sparsity
            continue
        for sparsity in sorted(sparsities):
            if pattern == FREE or sparsity in BLOCK_SPARSITIES:
                yield pattern, sparsity


def run_all(options: argparse.Namespace, cases: dict[str, Case]) -> Iterator[Case]:
    """Run what `cases` does not hold yet, adding to it; yield each case, {} after each layer."""
    begun = time.perf_counter()
    for path in select_files(options.set, options.layers.split(","), options.largest):
        layer = load_layer(path)
        for method in options.methods.split(","):
            spent: set[str] = set()
            for pattern, sparsity in settings(options.patterns, options.sparsity):
                head = {"layer": layer.name, "shape": layer.weight.shape, "method": method}
                head |= {"pattern": pattern, "sparsity": sparsity}
                head["code"] = digest_code(method)
                key = case_key(head)
                if is_current(cases.get(key, {}), head["code"]):
                    continue
                entry = METHODS.get(method.partition(":")[0])
                if entry and not entry.takes(parse_pattern(pattern)):
                    case = {"status": "not able"}
                elif pattern in spent or time.perf_counter() - begun > options.budget:
                    case = {"status": "not run"}
                else:
                    arguments = (layer, method, pattern, sparsity)
                    case = in_child(arguments, options.threads, options.timeout)
                if case["status"] == "timeout":
                    spent.add(pattern)
                cases[key] = head | case
                yield cases[key]
        yield {}


def line(case: Case) -> str:
    """Return a case as one line of the log."""
    name = f"{case['layer']:38} {case['pattern']:12} {case['sparsity']:4.0%} {case['method']:14}"
    if "error" not in case:
        return f"{name} {case['status']}"
    held = "-" if case["held"] is None else f"{case['held']:.3e}"
    figures = f"{case['error']:.3e} held {held} {case['seconds']:8.3f} s {case['peak_mb']:7.0f} MB"
    return f"{name} {figures} {case['status']}"


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare all solvers on a layer set.")
    parser.add_argument("--set", type=Path, required=True, help="folder of tools/bench_layers.py")
    parser.add_argument("--out", type=Path, default=Path("tools/results"))
    parser.add_argument("--layers", default="*", metavar="GLOB,GLOB")
    parser.add_argument("--methods", default=",".join(method_names()), metavar="NAME,NAME")
    parser.add_argument("--sparsity", metavar="F,F", help=f"default {SPARSITIES}")
    parser.add_argument("--patterns", metavar="P,P", help=f"default {','.join(PATTERNS)}")
    parser.add_argument("--largest", type=int, metavar="N", help="skip layers of more weights")
    parser.add_argument("--timeout", type=float, metavar="S", help="of a case, default 180")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="S", help="of all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help=f"these defaults instead: {QUICK}")
    parser.add_argument("--resume", action="store_true", help="keep the cases in OUT/solvers.json")
    parser.add_argument("--check", action="store_true", help="print PASS or FAIL per promise")
    options = parser.parse_args()
    full = {"sparsity": ",".join(map(str, SPARSITIES)), "patterns": ",".join(PATTERNS)}
    for key, value in (QUICK if options.quick else full | {"timeout": 180.0}).items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    options.sparsity = [float(value) for value in options.sparsity.split(",")]
    options.patterns = options.patterns.split(",")
    unknown = set(options.methods.split(",")) - set(method_names())
    if unknown:
        parser.error(
            f"unknown method {', '.join(unknown)}; choose from {', '.join(method_names())}"
        )
    return options


def main() -> None:
    """Run the cases, printing each, then the summary and, if asked, the promises."""
    options = parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    stored = options.out / "solvers.json"
    old = json.loads(stored.read_text())["cases"] if options.resume and stored.exists() else []
    cases = {case_key(case): case for case in old}
    machine: Case = {"threads": options.threads, "processor": platform.machine()}
    machine |= {"processors": os.cpu_count(), "numpy": np.__version__}
    machine["loops"] = compiled.version() or "numpy"
    codes = {method: digest_code(method) for method in method_names()}
    for case in run_all(options, cases):
        if case:
            print(line(case), flush=True)
        else:
            write(options, cases, machine, codes)
    write(options, cases, machine, codes)
    table = Table(cases.values())
    print("\n".join(summary(table)))
    for held, claim in checks(table) if options.check else ():
        print({True: "PASS", False: "FAIL", None: "----"}[held], claim)


if __name__ == "__main__":
    main()
