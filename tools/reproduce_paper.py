"""Reproduce the tables of the 2017 paper, each system that it compares with on the same harness.

    python tools/reproduce_paper.py [--data ../shared/data] [--only PATTERN ...] [--again] [--list]
    python tools/reproduce_paper.py --merge FILE ...

Dense networks are the authors' own LeNet-300-100 (``lobs_lenet_300_100.npz`` of the folder) and
the two of ``models/mnist``; images are all of MNIST (``mnist.npz``; ``tools/train_mnist.py`` says
what it is). Each row takes less than ten minutes of one core and is kept in
``tools/results/reproduce_paper.json`` as soon as it is there; what is there is not made again
without --again. ``reproduce_paper.md`` and the tables of the guide's pages are written from that.
Training goes through the derivatives of this project; nothing but onnxruntime and NumPy is needed.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import time
from pathlib import Path
from typing import Any

from paper import light, other_systems, table_1, table_2
from paper.networks import DATA, Mnist
from paper.report import markdown, refreshed
from paper.rows import Maker

RESULTS = Path(__file__).parent / "results" / "reproduce_paper.json"
GUIDE = Path(__file__).parents[1] / "onnx_lobs" / "guide"
PAGES = (GUIDE / "paper.md", GUIDE / "retraining.md")


def all_rows() -> dict[str, Maker]:
    """Return what makes each row, by its name."""
    return table_1.all_rows() | light.all_rows() | table_2.all_rows() | other_systems.all_rows()


def stored(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows that are there."""
    return json.loads(path.read_text()) if path.exists() else {}


def keep(path: Path, added: dict[str, dict[str, Any]]) -> None:
    """Add rows to the file, in the order of the tables, and write the tables anew."""
    rows = stored(path) | added
    ordered = {key: rows[key] for key in all_rows() if key in rows}
    path.write_text(json.dumps(ordered, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(ordered))
    if path == RESULTS:
        for page in PAGES:
            page.write_text(refreshed(page.read_text(), ordered))


def main() -> None:
    """Make the rows that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", default=["*"], help="names of rows, with * and ?")
    parser.add_argument("--again", action="store_true", help="make rows again that are there")
    parser.add_argument("--list", action="store_true", help="print the names of rows and end")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--merge", type=Path, nargs="+", help="add the rows of such files, and end")
    given = parser.parse_args()
    chosen = {
        name: maker
        for name, maker in all_rows().items()
        if any(fnmatch.fnmatch(name, pattern) for pattern in given.only)
    }
    if given.list:
        print("\n".join(chosen))
        return
    if given.merge:
        for path in given.merge:
            keep(given.out, stored(path))
        return
    mnist = Mnist.read(given.data)
    for name, maker in chosen.items():
        if name in stored(given.out) and not given.again:
            continue
        start = time.process_time()
        row = dataclasses.asdict(maker(mnist))
        row["seconds"] = round(time.process_time() - start, 1)
        keep(given.out, {name: row})
        print(f"{name}: {row['pruned']} {row['retrained']} {row['facts']}", flush=True)


if __name__ == "__main__":
    main()
