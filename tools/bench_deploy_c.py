"""Count what sparse C takes on a Cortex-M4: flash by the compiler, instructions in qemu, score.

    python tools/bench_deploy_c.py --out OUT [--cmsis-nn FOLDER] DATA TEST MODEL.onnx [...]

DATA gives the 8-bit grids, TEST (an npz with ``label`` or ``labels``; else any word) the score of
the integers, computed by the same C compiled for this machine. Needs gcc, and Debian's packages
gcc-arm-none-eabi and qemu-system-arm. Instructions are not cycles: flash waits and branches cost
more. With --cmsis-nn, the folder of Arm's sources of CMSIS-NN, its functions for the multiplying
and pooling layers alone are counted beside (tools/cmsis_nn.py); zeros mean nothing to them. Every
line is kept in tools/results/deploy_c.json as soon as it is measured.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from cmsis_nn import write_cmsis

from onnx_lobs.data.inputs import input_specs
from onnx_lobs.data.reader import open_data
from onnx_lobs.graph.files.load import load_model
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.run.calibration_data import open_calibration
from onnx_lobs.storage.expand import expand_weights
from onnx_lobs.targets.c.emit import write_files
from onnx_lobs.targets.c.export import quantised
from onnx_lobs.verbs.c_code import CMade, CWanted, make_code, network_for, one_by_one

RESULTS = Path(__file__).with_name("results") / "deploy_c.json"
BOARD = Path(__file__).with_name("cortex_m4")
CPU = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"]
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
INSTRUCTIONS = 40  # of a tick of the board
NUMPY = {"int8_t": np.int8, "uint8_t": np.uint8, "float": np.float32}


def main() -> None:
    """Measure every model that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--values", default="int8")
    parser.add_argument("--optimise", default="speed")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--cmsis-nn", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--shape", action="append", default=[], help="INPUT=1x3x48x192")
    parser.add_argument("data")
    parser.add_argument("test", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    options = parser.parse_args()
    for model in options.models:
        keep(options.results, measure(options, model))


def measure(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Return the record of one model."""
    loaded = load_model(model)
    expand_weights(loaded, to_float=True)
    shapes = {
        n: tuple(map(int, s.split("x"))) for n, _, s in (t.partition("=") for t in options.shape)
    }
    config = PruneConfig(samples=options.samples, input_shapes=shapes)
    specs = input_specs(loaded.proto)
    batches, _ = open_calibration(loaded.path, specs, options.data, config)
    network = network_for(loaded, batches, config)
    wanted = CWanted(options.values, options.optimise)
    code = make_code(network, batches, config, wanted, "net", model.name)
    folder = options.out / f"{model.stem}_{options.values}_{options.optimise}"
    write_files(code.files, folder)
    found = {"model": model.stem, "values": options.values, "optimise": options.optimise}
    found |= {"flash": {level: flash(folder, level) for level in ("-Os", "-O2", "-O3")}}
    found |= {"ram": code.files.ram_bytes, "multiplications": code.made.program.multiplications}
    found |= {"instructions": count(code, folder), "score": None}
    if options.test.exists():
        found["score"] = round(score_of(options, code, folder, network, specs), 4)
    if options.cmsis_nn is not None:
        found["cmsis_nn"] = count_cmsis(options.cmsis_nn, code, folder)
    return found


def keep(path: Path, record: dict[str, Any]) -> None:
    """Put a record in place of that of the same code, and print it."""
    print(json.dumps(record), flush=True)
    names = ("model", "values", "optimise")
    held = json.loads(path.read_text()) if path.exists() else []
    held = [other for other in held if any(other[name] != record[name] for name in names)]
    rows = ",\n".join(f" {json.dumps(each)}" for each in [*held, record])
    path.write_text(f"[\n{rows}\n]\n")


def flash(folder: Path, level: str) -> int:
    """Return text and data of the network as the compiler makes them."""
    run([*CPU, level, *STRICT, "-c", "net.c", "-o", "net.o"], folder)
    words = run(["arm-none-eabi-size", "net.o"], folder).splitlines()[1].split()
    return int(words[0]) + int(words[1])


def count(code: CMade, folder: Path) -> int:
    """Return instructions for one sample, -O3; every output has to be the expected one."""
    (source,), (target,) = code.made.program.inputs, code.made.program.outputs
    names = ['-DHEADER="net.h"', '-DSAMPLES="net_samples.h"', "-DRUN=net_run"]
    names += [f"-DOUT={target.c_type}", f"-DSIZE={target.size}", f"-DINPUT_SIZE={source.size}"]
    return on_board([*names, "-I.", "net.c"], "net.elf", folder)


def count_cmsis(sources: Path, code: CMade, folder: Path) -> dict[str, int]:
    """Return instructions and flash of CMSIS-NN's functions for the layers of a network."""
    constants, n_inputs, n_outputs = write_cmsis(code.made.program, folder)
    names = ['-DHEADER="cmsis.h"', '-DSAMPLES="cmsis_samples.h"', "-DRUN=cmsis_run"]
    names += ["-DOUT=int8_t", f"-DSIZE={n_outputs}", f"-DINPUT_SIZE={n_inputs}"]
    kernels = [
        str(path)
        for kind in ("Convolution", "FullyConnected", "Pooling", "NNSupport")
        for path in sorted((sources / "Source" / f"{kind}Functions").glob("*.c"))
        if not re.search(r"_f(16|32|lt)", path.name)
    ]
    places = ["-I.", f"-I{sources / 'Include'}", "-ffunction-sections", "-Wl,--gc-sections"]
    counted = on_board([*names, *places, "cmsis.c", *kernels], "cmsis.elf", folder)
    symbols = run(["arm-none-eabi-nm", "-S", "cmsis.elf"], folder).splitlines()
    functions = {row[3]: int(row[1], 16) for row in map(str.split, symbols) if len(row) == 4}
    size = sum(n for name, n in functions.items() if name.startswith("arm_"))
    return {"instructions": counted, "flash": constants + size}


def on_board(words: list[str], made: str, folder: Path) -> int:
    """Return instructions for one sample; every output has to be the expected one."""
    start = [str(BOARD / name) for name in ("start.c", "count.c")]
    linked = ["-nostartfiles", "-T", str(BOARD / "link.ld"), *start, *words, "-lm"]
    run([*CPU, "-O3", "-std=gnu99", *linked, "-o", made], folder)
    machine = ["qemu-system-arm", "-M", "mps2-an386", "-icount", "shift=0", "-nographic"]
    found = run([*machine, "-semihosting", "-kernel", made], folder)
    ticks, samples, wrong = map(int, re.findall(r"\d+", found)[-3:])
    if wrong:
        raise SystemExit(f"{folder}: {wrong} of {samples} samples differ on the board")
    return INSTRUCTIONS * ticks // samples


def score_of(options, code, folder, network, specs) -> float:
    """Return the share of test samples whose largest output is the label."""
    build = ["gcc", "-O2", *STRICT, "-shared", "-fPIC", "net.c", "-o", "net.so", "-lm"]
    run(build, folder)
    library = ctypes.CDLL(str(folder / "net.so"))
    (target,) = code.made.program.outputs
    output = np.zeros(target.size, NUMPY[target.c_type])
    test = open_data(str(options.test), specs, samples=None, batch_size=64)
    with np.load(options.test) as arrays:
        labels = arrays["label" if "label" in arrays else "labels"].reshape(-1)
    hits = 0
    for label, feeds in zip(labels, one_by_one(test, network), strict=False):
        (values,) = quantised(code.made.program, feeds).values()
        values = np.ascontiguousarray(values)
        library.net_run(
            values.ctypes.data_as(ctypes.c_void_p), output.ctypes.data_as(ctypes.c_void_p)
        )
        hits += int(output.argmax()) == int(label)
    return hits / len(labels)


def run(command: list[str], folder: Path) -> str:
    """Return what a command prints; end where it fails."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout + done.stderr  # qemu prints what the board says on the latter


if __name__ == "__main__":
    main()
