"""Remove whole channels from every ONNX file that some packages ship, and tell what came of it.

    python tools/run_wild_channels.py --out FOLDER [--sparsity 0.2] [--more FILE ...] [WORD ...]

The files are those of ``tools/run_wild.py``, structures of known networks that the onnx package
holds for its tests, and more that are named. Each goes through ``--pattern channels --allocation
uniform`` on made-up inputs, or those of an npz of its name beside it, which says nothing of
accuracy: what is shown is that channels go and the smaller file computes what the network with
zeros in their place does, which the command checks before it writes, or what pins them. Writes
``tools/results/wild_channels.md``. Rows are kept in FOLDER, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import time
from pathlib import Path
from typing import Any

import onnx
from run_wild import unpack, windows

from onnx_lobs.errors import LobsError
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.verbs.prune import prune_file

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
KNOWN = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
LIMIT_S = 900
PINS = 2  # reasons that are listed
LONGEST = 240  # letters of an error
RESULT = Path(__file__).parent / "results" / "wild_channels.md"


def run(path: Path, out: Path, sparsity: float) -> str:
    """Remove channels from one file, in a process of its own; return what came of it, in a line."""
    place = out / "told.json"
    place.unlink(missing_ok=True)
    process = mp.get_context("fork").Process(target=_prune, args=(path, out, sparsity, place))
    process.start()
    process.join(LIMIT_S)
    if process.is_alive():
        process.kill()
        return f"over {LIMIT_S // 60} minutes"
    return str(json.loads(place.read_text())) if place.exists() else "the process ended"


def _prune(path: Path, out: Path, sparsity: float, place: Path) -> None:
    """Write what came of one file to a place."""
    config = PruneConfig(
        pattern="channels", sparsity=sparsity, allocation="uniform", effort="fast", samples=8
    )
    samples = path.with_suffix(".npz")
    found = windows(out, onnx.load(path, load_external_data=False))
    data = samples if samples.exists() else Path(found[1]) if found else None
    try:
        report = prune_file(path, out / "smaller.onnx", config, data=data, overwrite=True)
        text = _told(report.to_dict())
    except LobsError as error:
        text = str(error).replace(f"{path.parent}/", "")[:LONGEST]  # no folder of this machine
    place.write_text(json.dumps(text))


def _told(record: dict[str, Any]) -> str:
    """Return what the record of a run says of channels."""
    channels = record["channels"]
    groups, (before, after) = channels["groups"], channels["multiplications"]
    gone = sum(group["channels"] - group["kept"] for group in groups)
    all_ = sum(group["channels"] for group in groups)
    pins: dict[str, int] = {}
    for pinned in channels["pinned"]:
        pins[pinned["reason"]] = pins.get(pinned["reason"], 0) + pinned["channels"]
    most = sorted(pins.items(), key=lambda pair: -pair[1])[:PINS]
    stay = "; ".join(f"{count} as {reason[:LONGEST]}" for reason, count in most)
    error = record["output"]["error"]
    told = f"{gone} of {all_} channels in {len(groups)} groups gone"
    told += f", multiplications {before:,} -> {after:,}"
    told += "" if error is None else f", output error {error:.2g}"
    return told + (f"; stay: {stay}" if stay else "")


def main() -> None:
    """Run all files, or those whose names contain one of the words given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sparsity", type=float, default=0.2)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    light = [LIGHT / f"light_{name}.onnx" for name in KNOWN]
    files = [*unpack(arguments.out), *(path for path in light if path.exists()), *arguments.more]
    place = arguments.out / "channels.json"
    rows: dict[str, list[Any]] = json.loads(place.read_text()) if place.exists() else {}
    for path in files:
        is_wanted = any(word in path.name for word in arguments.words or [""])
        if path.name in rows or not is_wanted:
            continue
        started = time.perf_counter()
        rows[path.name] = [run(path, arguments.out, arguments.sparsity)]
        rows[path.name].append(time.perf_counter() - started)
        place.write_text(json.dumps(rows, indent=1))
        print(path.name, *rows[path.name], flush=True)
    write_table(rows, [path.name for path in files if path.name not in rows])


def write_table(rows: dict[str, list[Any]], missing: list[str]) -> None:
    """Write the page of results; `missing` files were not run."""
    lines = [
        "# Whole channels of ONNX files that packages ship",
        "",
        "Made by `tools/run_wild_channels.py`; see its head. Seconds on a machine with other work.",
        "",
        "| file | what came of it | s |",
        "|---|---|---|",
    ]
    for name, (told, seconds) in rows.items():
        lines.append(f"| {name} | {told.replace('|', '/')} | {seconds:.0f} |")
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    RESULT.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
