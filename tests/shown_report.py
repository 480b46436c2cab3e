"""A report, and what a terminal shows of it."""

from __future__ import annotations

import dataclasses

from rich.console import Console, RenderableType

from onnx_lobs.report.record import (
    LayerRecord,
    OutputRecord,
    Report,
    ScoreRecord,
    SkipRecord,
    Totals,
)

LONG = "/model/encoder/layer.0/attention/self/query/MatMul"
LAYERS = (
    LayerRecord("/fc1/Gemm", "Gemm", 235_200, 218_736, 0.01234, 0.0789, "solved", 1.23),
    LayerRecord(LONG, "ConvTranspose", 1_000_000, 930_000, 1.2345e-5, 0.0456, "solved", 12.4),
)
REPORT = Report(
    model="m.onnx",
    options={"storage": "dense"},
    data="calibration.npz (5000 samples)",
    layers=LAYERS,
    skipped=(SkipRecord("/lstm", "LSTM", "its weights are not a matrix", "recurrent"),),
    totals=Totals(1_235_200, 1_148_736, 14.2, (5_000_000, 5_000_100), (4_600_000, 500_000)),
    output=OutputRecord(
        0.0123,
        0.0119,
        500,
        ScoreRecord("top1", 0.9838, 0.981, 0.0028, 0.00126, 0.00137, 0.0006, 10_000, True),
    ),
    output_path="m_pruned.onnx",
)


def rendered(what: RenderableType, width: int = 100, *, color: bool = False) -> str:
    console = Console(
        width=width,
        force_terminal=True,  # a pipe gets whole names
        color_system="standard" if color else None,
        highlight=False,
        legacy_windows=False,
        no_color=False,
    )
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def words(what: RenderableType, width: int = 100) -> str:
    return " ".join(rendered(what, width).split())


def with_(**changes: object) -> Report:
    return dataclasses.replace(REPORT, **changes)  # type: ignore[arg-type]
