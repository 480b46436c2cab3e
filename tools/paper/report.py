"""Writes the rows as tables of Markdown, the paper's figures beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from paper.hessians import NETWORKS, OBSERVATIONS
from paper.published import DENSE, FC1_CURVES, FC1_PRUNED, HOURS, TABLE_1, TABLE_2

Rows = Mapping[str, Mapping[str, Any]]

PUBLISHED_AS = {
    "random": "random", "LWC": "LWC", "OBD": "OBD", "lobs, 7 %": "L-OBS", "lobs, stage 1": "L-OBS",
    "lobs, 2 stages": "L-OBS, iterative", "joint, 2 stages": "L-OBS, iterative", "DNS": "DNS",
    "lobs, thinned": "L-OBS, iterative", "joint, thinned": "L-OBS, iterative",
    "joint, thinned to 0.9 %": "L-OBS, iterative",
}  # fmt: skip


def markdown(rows: Rows) -> str:
    """Return the page of all tables that have rows."""
    parts = ["# The paper's tables, made again\n", _intro()]
    parts += [f"## {title}\n\n{made}" for title, made in sections(rows).items() if made]
    return "\n".join(parts)


def sections(rows: Rows) -> dict[str, str]:
    """Return the tables by their titles."""
    return {
        "Table 1": _table_1(rows),
        "What light retraining learns": _light(rows),
        "Courses of light retraining, LeNet-5": _courses(rows),
        "Table 2: fc2 of LeNet-300-100 alone": _table_2(rows),
        "fc3 of LeNet-300-100 alone": _fc3(rows),
        "fc1 of LeNet-300-100 alone: accuracy by per cent of zeros": _fc1(rows),
        "At equal bytes, no retraining": _bytes(rows),
        "Filters of LeNet-5": _filters(rows),
        "Hessians of large networks": _hessians(rows),
    }


def refreshed(page: str, rows: Rows) -> str:
    """Return a page in which each table that begins like one of ours has the rows of that."""
    for made in sections(rows).values():
        for block in (some for some in made.split("\n\n") if some.startswith("|")):
            lines, new = page.splitlines(), block.strip().splitlines()
            if new[0] in lines:
                first = lines.index(new[0])
                is_row = [line.startswith("|") for line in (*lines[first:], "")]
                lines[first : first + is_row.index(False)] = new
                page = "\n".join(lines) + "\n"
    return page


def _intro() -> str:
    return (
        "Written by `tools/reproduce_paper.py`. Test errors in per cent on the 10,000 test images "
        "of MNIST (standard error about .13 at 1.7). *kept* is the share of weights that are not "
        "zero, in per cent, biases left out.\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table_1(rows: Rows) -> str:
    made = []
    for row in _of(rows, "1"):
        paper = TABLE_1.get((row["network"], PUBLISHED_AS.get(row["method"], "")))
        after = ", ".join(f"{error:.2f} ({steps})" for steps, error in row["retrained"].items())
        theirs = ["", "", "", ""]
        if paper is not None:
            theirs = [f"{paper.kept:g}", _number(paper.pruned), _number(paper.retrained),
                      f"{paper.steps:,}"]  # fmt: skip
        made.append(
            [f"{row['network']}, {row['origin']}", row["method"], _number(row["dense"]),
             _number(row["kept"], 1), _number(row["pruned"]), after, *theirs]
        )  # fmt: skip
    head = ["network", "method", "dense", "kept", "pruned", "retrained (steps)", "paper: kept",
            "pruned", "retrained", "steps"]  # fmt: skip
    dense = ", ".join(f"{name} {error}" for name, error in DENSE.items())
    return table(head, made) + f"\nThe paper's dense networks: {dense}.\n" if made else ""


def _light(rows: Rows) -> str:
    made = [
        [f"{row['network']}, {row['origin']}", row["method"], _batch(row), _number(row["dense"]),
         _number(row["pruned"]), *(_number(e) for e in row["facts"]["errors"].values())]
        for row in _of(rows, "light")
    ]  # fmt: skip
    head = ["network", "pruned by", "images a step", "dense", "pruned", "labels", "classes",
            "outputs"]  # fmt: skip
    return table(head, made) if made else ""


def _courses(rows: Rows) -> str:
    made = []
    for row in _of(rows, "courses"):
        facts = row["facts"]
        steps = ", ".join(row["retrained"])
        made.append(
            [row["method"], _number(row["kept"]), facts["towards"], _batch(row), steps,
             _number(fmean(facts["loss"]), 4), _mean(facts["held out"]),
             _number(fmean(facts["pruned"])), _mean(facts["test"])]
        )  # fmt: skip
    head = ["zeros", "kept", "learns", "images a step", "steps", "held-out loss", "held-out error",
            "pruned", "retrained"]  # fmt: skip
    return table(head, made) if made else ""


def _batch(row: Mapping[str, Any]) -> str:
    return str(row["facts"]["batch"] or "512, by itself")


def _mean(values: Sequence[float]) -> str:
    """Return the mean of several seeds, and its standard error."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{fmean(values):.2f} ± {error:.2f}"


def _table_2(rows: Rows) -> str:
    made = [
        [row["method"], _number(row["kept"], 1), _number(row["facts"]["xi squared"], 3),
         _number(row["pruned"])]
        for row in _of(rows, "2")
    ]  # fmt: skip
    made += [
        [f"paper: {name}", f"{kept}", f"{xi}", f"{error}"] for name, xi, error, kept in TABLE_2
    ]
    return (
        table(["method", "kept", "xi squared", "error"], made) if len(made) > len(TABLE_2) else ""
    )


def _fc3(rows: Rows) -> str:
    made = [
        [_number(row["kept"], 0), _number(row["pruned"]), _number(row["facts"]["exact-obs"])]
        for row in _of(rows, "fc3")
    ]
    head = [
        "kept",
        "OBS, matrix of the loss for the whole layer",
        "exact-obs, outputs of the layer",
    ]
    return table(head, made) if made else ""


def _fc1(rows: Rows) -> str:
    made = []
    for row in _of(rows, "fc1"):
        made.append([row["method"], *(f"{v:.3f}" for v in row["facts"]["accuracy"].values())])
        if row["method"] in FC1_CURVES:
            made.append(["paper", *(f"{v:.3f}" for v in FC1_CURVES[row["method"]])])
    return table(["method", *map(str, FC1_PRUNED)], made) if made else ""


def _bytes(rows: Rows) -> str:
    made, names = [], []
    for row in _of(rows, "bytes"):
        names = list(row["facts"]["errors"])
        errors = [_number(error) for error in row["facts"]["errors"].values()]
        kilobytes = f"{row['facts']['bytes'] / 1e3:.0f} of {row['facts']['of'] / 1e3:.0f}"
        made.append([row["network"], row["method"], _number(row["kept"], 1), kilobytes, *errors])
    return table(["network", "bytes of", "kept", "kB", *names], made) if made else ""


def _filters(rows: Rows) -> str:
    made = [
        [row["method"], _number(100 * (1 - row["facts"]["multiplications"]), 0),
         _number(row["pruned"]), *(_number(e) for e in row["retrained"].values())]
        for row in _of(rows, "filters")
    ]  # fmt: skip
    head = ["choice", "multiplications gone", "pruned", "after 200 steps"]
    return table(head, made) if made else ""


def _hessians(rows: Rows) -> str:
    times = {int(row["method"]): row["facts"] for row in _of(rows, "hessian")}
    made = []
    for network in NETWORKS:
        known = [(size, n) for size, n in network.sizes if size in times]
        if known:
            inverse = sum(n * times[size]["inverse"] for size, n in known)
            gram = sum(n * times[size]["gram"] for size, n in known)
            left = sorted({size for size, _ in network.sizes} - {size for size, _ in known})
            hours, where = HOURS[network.name]
            made.append(
                [network.name, str(sum(n for _, n in network.sizes)), f"{inverse:.0f}",
                 f"{gram:.0f}", str(left) if left else "none", f"{hours} h on {where}"]
            )  # fmt: skip
    if not made:
        return ""
    head = ["network", "matrices", "s for inverses", f"s for sums over {OBSERVATIONS} observations",
            "not timed", "the paper"]  # fmt: skip
    sizes = table(
        ["inputs", "sum, s", "inverse, s", "peak GB"],
        [[f"{size:,}", _number(t["gram"]), _number(t["inverse"]), _number(t["gigabytes"], 1)]
         for size, t in sorted(times.items())],
    )  # fmt: skip
    return f"{table(head, made)}\nCPU seconds of one core.\n\n{sizes}"


def _of(rows: Rows, name: str) -> list[Mapping[str, Any]]:
    return [row for row in rows.values() if row["table"] == name]
