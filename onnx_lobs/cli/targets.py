"""The options of ``prune`` that stand in place of a sparsity."""

from __future__ import annotations

from typing import Annotated

from onnx_lobs.cli.options import WHAT, option

MaxDrop = Annotated[
    float | None,
    option(
        WHAT,
        "--max-drop",
        metavar="FRACTION",
        help="Instead of -s: as sparse as this drop of the score on --test data allows, e.g. 0.01 "
        "for one point, with 95 % confidence.",
        show_default=False,
    ),
]
MaxOutputError = Annotated[
    float | None,
    option(
        WHAT,
        "--max-output-error",
        metavar="FRACTION",
        help="Instead of -s: as sparse as this relative squared change of the outputs on the "
        "calibration data allows.",
        show_default=False,
    ),
]
MaxBytes = Annotated[
    str | None,
    option(
        WHAT,
        "--max-bytes",
        metavar="SIZE",
        help="Instead of -s: no sparser than makes the file this small, e.g. 500KB; with --format "
        "sparse.",
        show_default=False,
    ),
]
