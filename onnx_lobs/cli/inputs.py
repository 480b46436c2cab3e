"""The options that say on which samples the network runs: for calibration, and for a score."""

from __future__ import annotations

from typing import Annotated

from onnx_lobs.cli.options import option
from onnx_lobs.options.config import SCORE_NAMES

DATA_PANEL = "Data"

Data = Annotated[
    str | None,
    option(
        DATA_PANEL,
        "-d",
        "--data",
        metavar="PATH",
        help="Calibration inputs: an npz of stacked arrays by input name, an npy, a folder of "
        "such files, or test_data_set_* folders. Default: {stem}.npz, {stem}_calibration.npz, "
        "calibration.npz or test_data_set_* beside MODEL, else made up.",
        show_default=False,
    ),
]
Test = Annotated[
    str | None,
    option(
        DATA_PANEL,
        "--test",
        metavar="NPZ",
        help="Inputs with 'label': the score before and after. Default: {stem}_test.npz or "
        "test.npz beside MODEL, if there.",
        show_default=False,
    ),
]
SCORE_HELP = (
    "What is scored: top1, top5 (need labels: class indices); agreement with the dense model's "
    "choices; cosine similarity to its outputs; or your function, def FN(run) or def FN(run, "
    "batches): run(feeds) gives outputs by name, batches yields (feeds, labels), the result is "
    "a number, or one per sample, higher is better. This runs the code in FILE.py."
)
SCORE_KINDS = "|".join((*SCORE_NAMES, "FILE.py:FN"))
Score = Annotated[
    str | None,
    option(
        DATA_PANEL,
        "--score",
        metavar=SCORE_KINDS,
        help=f"{SCORE_HELP} Measured on --test. Default: top1 where there are labels.",
        show_default=False,
    ),
]
Samples = Annotated[
    int | None,
    option(
        DATA_PANEL,
        "--samples",
        metavar="N",
        help="Most samples of --data used. Default: all.",
        show_default=False,
    ),
]
Positions = Annotated[
    str,
    option(
        DATA_PANEL,
        "--positions",
        metavar="N|all",
        help="Observations per input that are read of a convolution, at random positions.",
    ),
]
BatchSize = Annotated[
    int | None,
    option(
        DATA_PANEL,
        "--batch-size",
        metavar="N",
        help="Samples per call of onnxruntime; a batch size fixed by the model wins. "
        "[default: 32; when pruning, fewer where --memory asks for it]",
    ),
]
InputShape = Annotated[
    list[str],
    option(
        DATA_PANEL,
        "--input-shape",
        metavar="NAME:1x3x224x224",
        help="Shape of an input that is made up, batch axis included. Repeatable.",
    ),
]
