"""Declares what ``prune`` reads and writes, and whether it does at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx_lobs.options.option import argument, option
from onnx_lobs.options.word_kinds import PATH, SWITCH, text

DATA_PANEL = "Data"
OUTPUT_PANEL = "Output"


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a run reads and writes."""

    model: Path = argument("ONNX file. Never changed.", PATH, metavar="MODEL", also=("inspect",))
    data: str | None = option(
        None,
        "Calibration inputs: a file, a folder or a pattern of pictures, sound, texts (.txt) or "
        "tables (csv); npz or npy of arrays by input name; test_data_set_* folders; JSON of "
        "Polygraphy; or FILE.py:FN, which yields batches and whose code is run.",
        text("PATH"),
        flags=("-d", "--data"),
        also=("inspect",),
        unset="{stem}.npz, {stem}_calibration.npz, calibration.npz or test_data_set_* beside "
        "MODEL, else made up",
        panel=DATA_PANEL,
        brief="Sample inputs: npz, npy, or a folder of such.",
        rank=2,
    )
    test: str | None = option(
        None,
        "The same with labels, for the score before and after: an npz with 'label', or a folder "
        "for each class (class/name.jpg).",
        text("PATH"),
        unset="{stem}_test.npz or test.npz beside MODEL, if there",
        panel=DATA_PANEL,
        brief="The same with labels: the score before and after.",
        rank=4,
    )
    output: Path | None = option(
        None,
        "File written.",
        PATH,
        flags=("-o", "--output"),
        unset="{stem}_pruned.onnx beside MODEL",
        panel=OUTPUT_PANEL,
        brief="File written [MODEL_pruned.onnx].",
        rank=3,
    )
    overwrite: bool = option(
        False,
        "Replace existing outputs.",
        SWITCH,
        panel=OUTPUT_PANEL,
        brief="Replace existing outputs.",
        rank=10,
    )
    dry_run: bool = option(
        False,
        "Open everything, run one batch, and tell what would be done, how long it would take and "
        "how much memory; write nothing.",
        SWITCH,
        panel=OUTPUT_PANEL,
    )
