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
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
from run_wild import unpack, windows

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
KNOWN = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
LIMIT_S = 300
PINS = 2  # reasons that are listed
LONGEST = 170  # letters of an error
RESULT = Path(__file__).parent / "results" / "wild_channels.md"


def run(path: Path, out: Path, sparsity: float) -> str:
    """Remove channels from one file; return what came of it, in a line."""
    command = [sys.executable, "-m", "onnx_lobs", str(path), "--pattern", "channels"]
    command += ["-s", str(sparsity), "--allocation", "uniform", "--effort", "fast"]
    command += ["--samples", "8", "--json", "--overwrite", "-o", str(out / "smaller.onnx")]
    samples = path.with_suffix(".npz")
    if samples.exists():
        command += ["-d", str(samples)]
    else:
        command += windows(out, onnx.load(path, load_external_data=False))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"over {LIMIT_S // 60} minutes"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return last[:LONGEST]
    return _told(json.loads(done.stdout))


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
    write_table(rows)


def write_table(rows: dict[str, list[Any]]) -> None:
    """Write the page of results."""
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
    RESULT.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
