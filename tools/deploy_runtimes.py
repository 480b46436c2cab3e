"""Opens and runs models in onnxruntime, OpenVINO and MNN on one thread, for tools/bench_deploy.py.

    python tools/deploy_runtimes.py load RUNTIME FILE              milliseconds and KiB to load
    python tools/deploy_runtimes.py time RUNTIME FEEDS.npz FILE... milliseconds of each file

In a process of its own, so that memory is that of one model. Times are CPU time of the process,
the least of interleaved rounds.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Feeds = Mapping[str, np.ndarray]
Run = Callable[[Feeds], dict[str, np.ndarray]]
MOST_ROUNDS, LEAST_ROUNDS, SECONDS = 200, 8, 12.0  # rounds end when the seconds are over


def open_onnxruntime(path: Path) -> Run:
    """Return what runs a model in onnxruntime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, dict(feeds)), strict=True))


def open_openvino(path: Path) -> Run:
    """Return what runs a model in OpenVINO."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = "f32"  # as the others: no bfloat16 where a CPU has it
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    request = model.create_infer_request()
    names = [output.any_name for output in model.outputs]

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        found = request.infer(dict(feeds))
        return {name: found[i] for i, name in enumerate(names)}

    return run


def open_mnn(path: Path) -> Run:
    """Return what runs a model in MNN, in float32."""
    import MNN.expr as expr
    import MNN.nn as nn

    settings = {"backend": 0, "numThread": 1, "precision": "high"}
    manager = nn.create_runtime_manager((settings,))
    net = nn.load_module_from_file(str(path), [], [], runtime_manager=manager)
    info = net.get_info()
    outputs = list(info["outputNames"])
    types = {np.dtype(np.float32): expr.float, np.dtype(np.int32): expr.int}

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        made = []
        for name in info["inputNames"]:
            x = np.ascontiguousarray(feeds[name])
            made.append(expr.const(x, list(x.shape), expr.NCHW, types[x.dtype]))
        found = net.forward(made)
        found = found if isinstance(found, list | tuple) else [found]
        pairs = zip(outputs, found, strict=True)
        return {name: np.array(expr.convert(y, expr.NCHW).read()) for name, y in pairs}

    return run


RUNTIMES: dict[str, Callable[[Path], Run]] = {
    "onnxruntime": open_onnxruntime,
    "OpenVINO": open_openvino,
    "MNN": open_mnn,
}


def load_cost(runtime: str, path: Path) -> tuple[float, float]:
    """Return milliseconds of CPU time and KiB of peak memory that opening a model takes."""
    __import__({"onnxruntime": "onnxruntime", "OpenVINO": "openvino", "MNN": "MNN.nn"}[runtime])
    before, start = _peak(), time.process_time()
    RUNTIMES[runtime](path)
    return 1000 * (time.process_time() - start), _peak() - before


def _peak() -> float:
    """Return the peak of the memory that this process held, in KiB."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return float(found[1])


def latencies(runtime: str, feeds: Feeds, paths: list[Path]) -> list[float]:
    """Return milliseconds of CPU time for each file."""
    runs = [RUNTIMES[runtime](path) for path in paths]
    best = [float("inf")] * len(runs)
    begin = time.process_time()
    for done in range(MOST_ROUNDS):
        if done >= LEAST_ROUNDS and time.process_time() - begin > SECONDS:
            break
        for at, run in enumerate(runs):
            start = time.process_time()
            run(feeds)
            best[at] = min(best[at], 1000 * (time.process_time() - start))
    return best


def main() -> None:
    """Print what is asked for."""
    what, runtime, *rest = sys.argv[1:]
    if what == "load":
        print(*load_cost(runtime, Path(rest[0])))
    else:
        with np.load(rest[0]) as arrays:
            feeds = dict(arrays)
        print(*latencies(runtime, feeds, [*map(Path, rest[1:])]))


if __name__ == "__main__":
    main()
