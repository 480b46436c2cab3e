"""A record with everything in it, and names that pages have to take care of."""

from __future__ import annotations

import numpy as np

from onnx_lobs.evaluation.output import OutputChange
from onnx_lobs.options.limits import Limits
from onnx_lobs.report.evaluation import Evaluation, SideRecord
from onnx_lobs.report.png import encode_png
from onnx_lobs.report.record import (
    AdviceRecord,
    AllocationRecord,
    ChangedSample,
    ClassScore,
    Details,
    Histogram,
    KeptMap,
    LayerPicture,
    LayerRecord,
    OutputRecord,
    Report,
    ScoreRecord,
    SkipRecord,
    TargetRecord,
    Totals,
)

HOSTILE = "<script>alert(1)</script>|`x`\"'&"
NOT_UTF8 = "caf\udce9"  # how Python reads the name of a file that is not UTF-8
N_BINS, MAP = 41, (48, 64)  # as :mod:`onnx_lobs.run.layer_pictures` has them


def example_report(n_layers: int = 3) -> Report:
    """Return a record of `n_layers` layers with pictures."""
    rng = np.random.default_rng(n_layers)
    return Report(
        model=f"folder/{NOT_UTF8}.onnx",
        options={"sparsity": 0.5, "seed": 7, "method": "magnitude"},
        data=f"{HOSTILE}.npz (100 samples)",
        layers=tuple(_layer(i) for i in range(n_layers)),
        skipped=(SkipRecord(f"skip\0{HOSTILE}", "Conv", "8 weights, too few", "few weights"),),
        totals=Totals(1000 * n_layers, 500 * n_layers, 12.0, (4000, 2000), (3000, 1000)),
        output=OutputRecord(0.02, 0.01, 6, SCORE),
        allocation=AllocationRecord("erk", "weights", TRIALS, {}, {}, 2, 1.0),
        target=TargetRecord({"drop": 0.08, "bytes": 3000.0}, True, 0.5, RUNS),
        warnings=(f"the data are few: give more of {HOSTILE}",),
        command=("onnx-lobs", "prune", HOSTILE),
        advice=(AdviceRecord("more data", f"Try {HOSTILE}.", ("onnx-lobs", HOSTILE)),),
        details=Details(
            tuple(_picture(i, rng) for i in range(n_layers)),
            tuple(_sample(i, rng) for i in range(12)),
            100,
            tuple(ClassScore(i, 10, 0.9, 0.9 - 0.01 * (30 - i)) for i in range(30)),
        ),
    )


def example_evaluation() -> Evaluation:
    """Return the record of a comparison that misses a limit."""
    return Evaluation(
        dense=SideRecord("m.onnx", 1000, 0),
        pruned=SideRecord(f"{NOT_UTF8}.onnx", 1000, 900),
        data=HOSTILE,
        samples=500,
        error=0.0123,
        outputs=(
            OutputChange(HOSTILE, (32, 10), 0.0123, 0.9934, 0.99999, 0.5, 12.0),
            OutputChange("odd", (32, 8), note="its shape changed"),
        ),
        scores=(ScoreRecord("top1", 0.98, 0.97, 0.01, 0.006, 0.008, 0.004, 500, True),),
        file_bytes=(4000, 4000),
        gzip_bytes=None,
        limits=Limits(max_drop=0.001),
        seconds=1.25,
        command=("onnx-lobs", "evaluate", HOSTILE),
        details=example_report().details,
    )


SCORE = ScoreRecord("top1", 0.98, 0.91, 0.07, 0.01, 0.01, 0.01, 600, True)
TRIALS = {"uniform": 0.1, f"erk {HOSTILE}": 0.05}
RUNS = (
    {"sparsity": 0.4, "drop": 0.01, "bytes": 2500.0},
    {"sparsity": 0.5, "drop": 0.07, "bytes": 2000.0},
    {"sparsity": 0.6, "drop": 0.2, "bytes": 1500.0},
)


def _name(i: int) -> str:
    return f"/model/encoder/block.{i}/a_name_that_is_as_long_as_those_of_exporters/{HOSTILE}/MatMul"


def _layer(i: int) -> LayerRecord:
    remedy = "give more samples" if i % 7 == 0 else ""
    status = "damped" if remedy else "solved"
    return LayerRecord(_name(i), "MatMul", 1000, 500, 0.01, 0.2, status, 1.0, 0.02, remedy)


def _picture(i: int, rng: np.random.Generator) -> LayerPicture:
    counts = rng.integers(0, 1 << 20, (2, N_BINS))
    histogram = Histogram(-0.5, 0.5, tuple(map(int, counts[0])), tuple(map(int, counts[1])))
    kept = KeptMap(*MAP, rng.integers(0, 256, MAP, np.uint8).tobytes())
    return LayerPicture(_name(i), (1, 300, 400), histogram, kept)


def _sample(i: int, rng: np.random.Generator) -> ChangedSample:
    picture = encode_png(rng.integers(0, 256, (64, 64, 3), np.uint8))
    return ChangedSample(i, 1.0 / (i + 1), f"{i} {HOSTILE}", 3, 4, picture)
