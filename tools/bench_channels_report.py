"""Write the table of ``tools/bench_channels.py`` from its cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HEAD = """# Whole channels removed, no retraining

Made by `tools/bench_channels.py`; see its head. Share: of the multiplications of what can lose
channels. Left: of all multiplications. Latency of one sample on one thread, smaller over dense.

| network | share | method | score | left | MB | onnxruntime, ms | OpenVINO, ms | s |
|---|---|---|---|---|---|---|---|---|
"""
ORDER = ("onnx-lobs", "uniform", "latency", "onnxsim-l2", "onnxsim-wanda")


def write_report(folder: Path, cases: Sequence[Mapping[str, Any]]) -> None:
    """Write FOLDER/bench_channels.md: a row for every case."""
    places = {name: place for place, name in enumerate(ORDER)}
    rows = sorted(cases, key=lambda c: (c["model"], c["share"], places[c["method"]]))
    text = HEAD + "".join(f"| {' | '.join(_cells(case))} |\n" for case in rows)
    (folder / "bench_channels.md").write_text(text)


def _cells(case: Mapping[str, Any]) -> list[str]:
    before, after = case["multiplications"]
    score = "-" if case["score"] is None else " -> ".join(f"{100 * x:.1f}" for x in case["score"])
    sizes = "-" if case["bytes"] is None else " -> ".join(f"{x / 1e6:.2f}" for x in case["bytes"])
    method = case["method"] + (f" ({case['note']})" if case["note"] else "")
    return [
        case["model"], f"{case['share']:g}", method, score, f"{after / before:.3f}", sizes,
        _times(case["milliseconds"]), _times(case["openvino"]), f"{case['seconds']:.0f}",
    ]  # fmt: skip


def _times(pair: Sequence[float] | None) -> str:
    if pair is None:
        return "-"
    return f"{pair[0]:.2f} -> {pair[1]:.2f} ({pair[1] / pair[0]:.2f})"
