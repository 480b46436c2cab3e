"""Table, promises and plot of tools/bench_models.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench_models_promises import promises

if TYPE_CHECKING:
    from bench_models import Case


def write_report(folder: Path, cases: Sequence[Case]) -> None:
    """Write ``bench_models.md`` and ``bench_models.svg``."""
    kept = list(promises(cases))
    lines = [
        "# Whole networks: score against sparsity",
        "",
        "Made by `tools/bench_models.py`; see its head for what is measured. Score / output error "
        "/ seconds (other work ran on the machine: rough); zeros in the file in brackets where "
        "they differ from those asked for by more than a point.",
        "",
    ]
    dense = {case.model: case.score for case in cases if case.method == "dense"}
    cases = [case for case in cases if case.method != "dense"]
    for model in dict.fromkeys(case.model for case in cases):
        lines += [f"## {model}, dense {dense[model]:.4f}", "", *_table(model, cases), ""]
    lines += ["## Promises", "", *kept, ""]
    (folder / "bench_models.md").write_text("\n".join(lines))
    _plot(folder / "bench_models.svg", cases, dense)


def _table(model: str, cases: Sequence[Case]) -> Iterator[str]:
    own = {(c.method, c.sparsity): c for c in cases if c.model == model}
    methods = list(dict.fromkeys(method for method, _ in own))
    yield "| zeros | " + " | ".join(methods) + " |"
    yield "|---" * (len(methods) + 1) + "|"
    for sparsity in sorted({s for _, s in own}):
        cells = [_cell(own.get((method, sparsity))) for method in methods]
        yield f"| {sparsity:.1%} | " + " | ".join(cells) + " |"


def _cell(case: Case | None) -> str:
    if case is None:
        return ""
    if case.score is None or case.zeros is None:
        return case.note
    other = f" [{case.zeros:.1%}]" if abs(case.zeros - case.sparsity) > 0.01 else ""
    return f"{case.score:.4f} / {case.output_error:.2g} / {case.seconds:.0f}{other}"


def _plot(path: Path, cases: Sequence[Case], dense: dict[str, float]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "onnx-lobs"
    import matplotlib.pyplot as plt

    models = list(dict.fromkeys(case.model for case in cases))
    methods = list(dict.fromkeys(case.method for case in cases))
    rows = -(-len(models) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(14, 3.2 * rows), squeeze=False)
    for axis, model in zip(axes.flat, models, strict=False):
        axis.axhline(dense[model], color="0.6", linewidth=0.8)
        for i, method in enumerate(methods):
            points = sorted(
                (100 * c.sparsity, c.score)
                for c in cases
                if c.model == model and c.method == method and c.score is not None
            )
            if points:
                style = "--" if method.startswith("onnxsim") else "-"
                axis.plot(
                    *zip(*points, strict=True), style, marker=".", color=f"C{i}", label=method
                )
        axis.set_title(model, fontsize=10)
        axis.set_xlabel("zeros, %")
    for axis in list(axes.flat)[len(models) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower right", ncol=2, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
