"""Measures whole channels on networks: score, file, multiplications, latency; a Markdown table.

A network NAME needs NAME.onnx, NAME_calibration.npz and NAME_test.npz in FOLDER. Run on one that is
prepared by ``tools/zoo.py``::

    python tools/bench_channels.py FOLDER ppocr-cls --shares 0.1 0.3 0.5
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from onnx_lobs.options.config import PruneConfig
from onnx_lobs.verbs.prune import prune_file


def row(folder: Path, name: str, share: float, options: dict[str, object]) -> str:
    """Prune a network and return its row."""
    model, data, test = (
        folder / f"{name}{end}" for end in (".onnx", "_calibration.npz", "_test.npz")
    )
    config = PruneConfig(pattern="channels", sparsity=share, **options)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "small.onnx"
        report = prune_file(model, output, config, data=data, test=test)
    channels, score, sizes = report.channels, report.output.score, report.totals.file_bytes
    assert channels is not None
    scores = "-" if score is None else f"{100 * score.before:.1f} -> {100 * score.after:.1f}"
    before, after = channels.multiplications
    times = "-"
    if channels.latency is not None:
        dense, pruned = (1000 * seconds for seconds in channels.latency)
        times = f"{dense:.2f} -> {pruned:.2f} ({pruned / dense:.2f})"
    size = "-" if sizes is None else f"{sizes[0] / 1e6:.2f} -> {sizes[1] / 1e6:.2f}"
    error = report.output.error
    return (
        f"| {name} | {share:g} | {scores} | {'-' if error is None else f'{error:.3g}'} | "
        f"{after / before:.2f} | {size} | {times} | {report.totals.seconds:.0f} |"
    )


def main() -> None:
    """Print one row for every network and share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.5])
    parser.add_argument("--allocation", default="auto")
    parser.add_argument("--channel-choice", default="obs")
    parser.add_argument("--no-refit", action="store_true")
    given = parser.parse_args()
    options: dict[str, object] = {
        "allocation": given.allocation,
        "channel_choice": given.channel_choice,
        "refit": False if given.no_refit else None,
    }
    print("| network | share | score | output error | multiplications | MB | ms | s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.names:
        for share in given.shares:
            print(row(given.folder, name, share, options), flush=True)


if __name__ == "__main__":
    main()
