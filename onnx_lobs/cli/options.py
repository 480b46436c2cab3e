"""The command line's options: names, help and defaults.

The options of ``prune`` have the names of :class:`~onnx_lobs.options.config.PruneConfig`'s fields
and take their defaults from it. This module imports nothing heavy, so that ``--help`` is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onnx_lobs.options.config import (
    ALLOCATIONS,
    BUDGETS,
    EFFORTS,
    FORMATS,
    METHOD_NAMES,
    PruneConfig,
)

DEFAULTS = PruneConfig()
NO_TEXTS: list[str] = []  # default of options that can be repeated
OP_TYPES = ",".join(DEFAULTS.op_types)

WHAT = "What is pruned"
_HOW = "How"
OUTPUT_PANEL = "Output"


def option(panel: str, *names: str, **settings: Any) -> Any:
    """Return an option that stands in a panel of the help."""
    return typer.Option(*names, rich_help_panel=panel, **settings)


Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="ONNX file. Never changed.", show_default=False)
]
Output = Annotated[
    Path | None,
    option(
        OUTPUT_PANEL,
        "-o",
        "--output",
        metavar="FILE",
        help="File written. Default: {stem}_pruned.onnx beside MODEL.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, option(OUTPUT_PANEL, "--overwrite", help="Replace existing outputs.")]
Sparsity = Annotated[
    float | None,
    option(
        WHAT,
        "-s",
        "--sparsity",
        metavar="FRACTION",
        help="Fraction of the prunable weights that become zero: at least 0, below 1. "
        "Default: 0.5, or what an N:M pattern has.",
        show_default=False,
    ),
]
Pattern = Annotated[
    str,
    option(
        WHAT,
        "--pattern",
        metavar="unstructured|N:M|RxC",
        help="Where zeros may stand: anywhere; N kept of M consecutive input channels (2:4); "
        "blocks of R outputs times C inputs (4x1).",
    ),
]
LayerSparsity = Annotated[
    list[str],
    option(
        WHAT,
        "--layer-sparsity",
        metavar="GLOB=FRACTION",
        help="Sparsity of the layers that match, e.g. '*fc*=0.7'. Repeatable; the last match wins.",
    ),
]
LayerMin = Annotated[
    list[str],
    option(
        WHAT,
        "--layer-min",
        metavar="GLOB=FRACTION",
        help="Least sparsity of the layers that match, however the zeros are shared. Repeatable; "
        "the last match wins, and --layer-sparsity over it.",
    ),
]
LayerMax = Annotated[
    list[str],
    option(
        WHAT,
        "--layer-max",
        metavar="GLOB=FRACTION",
        help="Largest sparsity of the layers that match. As --layer-min.",
    ),
]
Allocation = Annotated[
    str,
    option(
        WHAT,
        "--allocation",
        metavar="|".join(ALLOCATIONS),
        help="How zeros are shared between layers: the same fraction everywhere; fewer in small "
        "layers (erk); by measured curves and sensitivities (global); auto tries them all.",
    ),
]
Budget = Annotated[
    str,
    option(
        WHAT,
        "--budget",
        metavar="|".join(BUDGETS),
        help="What --sparsity is a fraction of: weights, bytes as stored, or multiplications.",
    ),
]
Include = Annotated[
    list[str],
    option(
        WHAT,
        "--include",
        metavar="GLOB",
        help="Only nodes and weights with such a name ('re:' for a regular expression), even those "
        "left dense by default. Repeatable; one that matches nothing is an error.",
    ),
]
Exclude = Annotated[
    list[str],
    option(
        WHAT,
        "--exclude",
        metavar="GLOB",
        help="Leave such nodes and weights dense. As --include; wins over it.",
    ),
]
OpTypes = Annotated[str, option(WHAT, "--op-types", metavar="OP,OP", help="Operators taken.")]
MinWeights = Annotated[
    int, option(WHAT, "--min-weights", metavar="N", help="Leave layers with fewer weights dense.")
]
Method = Annotated[
    str,
    option(
        _HOW,
        "--method",
        metavar="NAME",
        help=f"How zeros are chosen: {', '.join(METHOD_NAMES)}.",
    ),
]
Effort = Annotated[
    str,
    option(
        _HOW,
        "--effort",
        metavar="|".join(EFFORTS),
        help="How long joint looks for better zeros.",
    ),
]
Refit = Annotated[
    bool | None,
    option(
        _HOW,
        "--refit/--no-refit",
        help="Refit the kept weights exactly by least squares. Default: yes, but not for lobs.",
        show_default=False,
    ),
]
Sequential = Annotated[
    bool | None,
    option(
        _HOW,
        "--sequential/--independent",
        help="Solve each layer on the inputs that the pruned network gives it, or on the dense "
        "network's. Default: independent for lobs, magnitude and random, else sequential.",
        show_default=False,
    ),
]
Correct = Annotated[
    bool | None,
    option(
        _HOW,
        "--correct/--no-correct",
        help="Correct means and variances behind pruned layers (biases, rows, BatchNormalization) "
        "where that lowers the output error. Default: with --independent and a refit.",
        show_default=False,
    ),
]
Damp = Annotated[
    float | None,
    option(
        _HOW,
        "--damp",
        metavar="FRACTION",
        help="Damping, as a fraction of the Hessian's mean diagonal. Default: chosen from the "
        "data.",
        show_default=False,
    ),
]
Seed = Annotated[
    int,
    option(_HOW, "--seed", metavar="N", help="Seed of every random choice: same seed, same bytes."),
]
Bound = Annotated[
    bool,
    option(
        OUTPUT_PANEL,
        "--bound",
        help="Also bound the output error by the layers' errors and the norms behind them, and say "
        "what first order foresees. Takes some 9 forward passes, and the norms.",
    ),
]
Storage = Annotated[
    str,
    option(
        OUTPUT_PANEL,
        "--format",
        metavar="|".join(FORMATS),
        help="How pruned weights are written. sparse: smaller file; onnxruntime reads it, many "
        "other tools do not.",
    ),
]
AsJson = Annotated[
    bool,
    option(OUTPUT_PANEL, "--json", help="Print the record as JSON, and nothing else, on stdout."),
]
ReportFile = Annotated[
    Path | None,
    option(
        OUTPUT_PANEL,
        "--report",
        metavar="FILE.json",
        help="Write the record to this file too.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, option(OUTPUT_PANEL, "--dry-run", help="List what would be pruned, write nothing.")
]
Verbose = Annotated[bool, option(OUTPUT_PANEL, "-v", "--verbose", help="List every skipped node.")]
Quiet = Annotated[
    bool,
    option(OUTPUT_PANEL, "-q", "--quiet", help="Only warnings and errors; no bars, no report."),
]
NoColor = Annotated[
    bool, option(OUTPUT_PANEL, "--no-color", help="No colour, as with the variable NO_COLOR.")
]
