"""The report of tools/bench_solvers.py: ratios between methods, tables, promises."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

FREE = "unstructured"
KINDS = {FREE: lambda p: p == FREE, "N:M": lambda p: ":" in p, "blocks": lambda p: "x" in p}
ADMM = "slow-admm"
LEAST = 1e-12  # relative errors below are rounding: weights are float32, their squares 1e-14
LONG = 1152  # inputs from which exact-obs is compared with the rate of GEMM
Case = dict[str, Any]


def case_key(case: Case) -> str:
    """Return what identifies a case."""
    return "|".join(str(case[part]) for part in ("layer", "method", "pattern", "sparsity"))


class Table:
    """Finished cases by method, and their ratios to another method's in the same setting."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.cases = list(cases)
        self.done: dict[str, dict[tuple[str, str, float], Case]] = {}
        for case in self.cases:
            place = (case["layer"], case["pattern"], case["sparsity"])
            of_method = self.done.setdefault(case["method"], {})
            if "error" in case:
                of_method[place] = case

    def ratios(self, method: str, other: str, part: str, kind: str | None = None) -> list[float]:
        """Return part / other's part where both are above rounding."""
        base = self.done.get(other, {})
        pairs = [
            (case[part], base[place][part])
            for place, case in self.done.get(method, {}).items()
            if place in base and (kind is None or KINDS[kind](place[1]))
        ]
        return [mine / its for mine, its in pairs if mine and its and min(mine, its) > LEAST]

    def mean_ratio(self, method: str, other: str, part: str, kind: str | None = None) -> float:
        """Return the geometric mean of the ratios, NaN if there are none."""
        found = self.ratios(method, other, part, kind)
        return float(np.exp(np.mean(np.log(found)))) if found else float("nan")

    def worst(self, method: str, others: tuple[str, ...]) -> tuple[float, str, int, int]:
        """Return the largest ratio to the best of `others`, where, how many > 1.005, of how many.

        Only places that all of them finished count. Errors below `LEAST` are as good as it: where
        the inputs span fewer directions than are kept, every method is exact but for rounding.
        """
        tables = [self.done.get(name, {}) for name in (method, *others)]
        found = []
        for place in tables[0].keys() & set.intersection(*(set(table) for table in tables[1:])):
            mine, *theirs = (table[place]["error"] for table in tables)
            found.append(
                (max(mine, LEAST) / max(min(theirs), LEAST), "{} {} {:.0%}".format(*place))
            )
        above = sum(ratio > 1.005 for ratio, _ in found)
        return (*max(found, default=(float("nan"), "no case")), above, len(found))


def summary(table: Table) -> list[str]:
    """Return the markdown table with one row per method."""
    heads = [f"{kind} {of}" for kind in KINDS for of in ("/ exact-obs", "/ sparsegpt")]
    rows = ["| method | done | " + " | ".join(heads) + " | seconds | peak MB |"]
    rows.append("|---" * (len(heads) + 4) + "|")
    for method, done in table.done.items():
        cells = [
            " · ".join(f"{table.mean_ratio(method, o, part, k):.3f}" for part in ("error", "held"))
            for k in KINDS
            for o in ("exact-obs", "sparsegpt")
        ]
        asked = [c for c in table.cases if c["method"] == method and c["status"] != "not able"]
        seconds = sum(case.get("seconds", 0.0) for case in asked)
        peak = max((case["peak_mb"] for case in done.values()), default=0.0)
        head = f"| {method} | {len(done)}/{len(asked)} | "
        rows.append(head + " | ".join(cells) + f" | {seconds:.1f} | {peak:.0f} |")
    return rows


def details(table: Table) -> Iterator[str]:
    """Yield a markdown table per pattern and sparsity: calibration / held-out error, seconds."""
    places = sorted({place[1:] for done in table.done.values() for place in done})
    shapes = {case["layer"]: "x".join(map(str, case["shape"])) for case in table.cases}
    status = {case_key(case): case["status"] for case in table.cases}
    for pattern, sparsity in places:
        yield f"\n### {pattern}, {sparsity:.0%} zeros\n"
        yield "| layer | " + " | ".join(table.done) + " |"
        yield "|---" * (len(table.done) + 1) + "|"
        for layer, shape in shapes.items():
            cells = []
            for method, done in table.done.items():
                case = done.get((layer, pattern, sparsity))
                missing = status.get(f"{layer}|{method}|{pattern}|{sparsity}", "")
                cells.append(_cell(case) if case else missing.partition(":")[0])
            yield f"| {layer} {shape} | " + " | ".join(cells) + " |"


def _cell(case: Case) -> str:
    held = "-" if case["held"] is None else f"{case['held']:.3g}"
    return f"{case['error']:.3g} / {held}, {case['seconds']:.2g} s"


def checks(table: Table) -> Iterator[tuple[bool | None, str]]:
    """Yield (held, claim and figures) for what is promised; None where cases are missing."""
    greedy = "exact-obs"
    worst, where, above, count = table.worst("joint", (greedy, ADMM))
    text = f"worst {worst:.4f} at {where}; {above} of {count} above"
    yield _verdict(worst, 1.005), f"joint <= 1.005 x min({greedy}, {ADMM}) everywhere: {text}"
    for method, limit in (("joint", 0.95), ("joint:best", 0.92)):
        mean = table.mean_ratio(method, greedy, "error")
        parts = [f"{k} {table.mean_ratio(method, greedy, 'error', k):.4f}" for k in KINDS]
        text = f"{mean:.4f} ({', '.join(parts)})"
        yield _verdict(mean, limit), f"{method}: geometric mean <= {limit} x {greedy}: {text}"
    both = table.done.get("joint", {}).keys() & table.done.get(greedy, {}).keys()
    total = [sum(table.done[m][place]["seconds"] for place in both) for m in ("joint", greedy)]
    share = total[0] / total[1] if both else float("nan")
    text = f"{share:.3f} ({total[0]:.1f} / {total[1]:.1f} s on {len(both)} cases both finished)"
    yield _verdict(share, 0.5), f"joint's total time <= 0.5 x {greedy}: {text}"
    yield from _check_speed(table)
    for pattern, limit in (("2:4", 0.958), ("4:8", 0.957), ("1:4", 0.933)):
        found = [
            case["held"] / table.done[greedy][place]["held"]
            for place, case in table.done.get("joint", {}).items()
            if place[1] == pattern and case["held"] and place in table.done.get(greedy, {})
        ]
        mean = float(np.exp(np.mean(np.log(found)))) if found else float("nan")
        text = f"{pattern}: joint's held-out error <= {limit} x {greedy} (geometric mean; the ratio"
        yield _verdict(mean, limit), f"{text} of the 240x240 row of the measured table): {mean:.4f}"


def _check_speed(table: Table) -> Iterator[tuple[bool | None, str]]:
    worst, other, where = float("nan"), float("nan"), "no case"
    for place, case in table.done.get("exact-obs", {}).items():
        groups, rows, d = case["shape"]
        rates = case.get("rates")
        if place[1] == FREE and d >= LONG and rates:
            flops = groups * rows * d**3 * 2 / 3
            ratio = case["seconds"] * rates["float32"] / flops
            if not worst >= ratio:
                worst, other = ratio, case["seconds"] * rates["float64"] / flops
                where = "{} {} {:.0%}".format(*place)
    text = f"{worst:.2f} x float32 rate, {other:.2f} x float64 rate, at {where}"
    yield _verdict(worst, 2.0), f"exact-obs <= 2 x (2/3 m d^3 / GEMM rate), d >= {LONG}: {text}"
    big = (("conv3x3-512x4608", 0.9, 2560.0), ("dense-2048x2048", 0.5, float("inf")))
    for name, sparsity, memory in big:
        case = table.done.get("joint", {}).get((f"synthetic.{name}", FREE, sparsity))
        held = None if case is None else case["seconds"] <= 60 and case["total_mb"] <= memory
        text = (
            "not measured" if case is None else f"{case['seconds']:.1f} s, {case['total_mb']:.0f}"
        )
        yield held, f"{name} {sparsity:.0%}: joint <= 60 s, <= {memory:.0f} MB in all: {text} MB"


def _verdict(value: float, limit: float) -> bool | None:
    return None if np.isnan(value) else value <= limit


def _of_other_code(table: Table, codes: Mapping[str, str]) -> list[str]:
    """Return which results are not of this state of the source, `codes` by method."""
    lines = []
    for method, done in table.done.items():
        other = sum(case.get("code") != codes[method] for case in done.values())
        if other:
            lines.append(f"* {method}: {other} of {len(done)} results are of an earlier state")
    return ["Measured on earlier states of the solvers' source:", "", *lines] if lines else []


def write(
    options: argparse.Namespace, cases: dict[str, Case], machine: Case, codes: Mapping[str, str]
) -> None:
    """Write both result files; `codes` are digests of the methods' source."""
    table = Table(cases.values())
    text = json.dumps({"machine": machine, "cases": list(cases.values())}, indent=1)
    (options.out / "solvers.json").write_text(text + "\n")
    labels = {True: "PASS", False: "FAIL", None: "not measured"}
    lines = ["# Solvers compared", "", "Made by `tools/bench_solvers.py`; see its head for terms."]
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items()), ""]
    lines += ["Geometric mean ratios of the error, calibration · held out:", "", *summary(table)]
    lines += ["", *_of_other_code(table, codes)]
    lines += ["", "## Promises", ""]
    lines += [f"* {labels[held]}: {claim}" for held, claim in checks(table)]
    lines += ["", "## Cases", "", "Relative error on calibration / held-out data, and time."]
    (options.out / "solvers.md").write_text("\n".join([*lines, *details(table)]) + "\n")
