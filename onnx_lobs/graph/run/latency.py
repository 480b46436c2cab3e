"""Measures how long the network takes before and after, side by side, on one thread."""

from __future__ import annotations

import time

import onnx
import onnxruntime as ort

from onnx_lobs.arrays import Feeds
from onnx_lobs.graph.run.session import MAX_PROTO_BYTES

ROUNDS = 8  # at the least: the smallest of them counts, what other programs do aside
SECONDS = 0.5  # that they take at least; ten times as much ends them early


def latencies(
    before: onnx.ModelProto, after: onnx.ModelProto, feeds: Feeds
) -> tuple[float, float] | None:
    """Return the seconds of one run of each, the least of several that take turns.

    None for models that are not in one piece, which are not loaded here.
    """
    if max(before.ByteSize(), after.ByteSize()) > MAX_PROTO_BYTES or _has_external(before):
        return None
    sessions = [_open(proto) for proto in (before, after)]
    best = [float("inf")] * len(sessions)
    started, rounds = time.perf_counter(), 0
    while rounds < ROUNDS or time.perf_counter() - started < SECONDS:
        for place, session in enumerate(sessions):
            begun = time.perf_counter()
            session.run(None, dict(feeds))
            best[place] = min(best[place], time.perf_counter() - begun)
        rounds += 1
        if time.perf_counter() - started > 10 * SECONDS and rounds > 1:
            break
    return best[0], best[1]


def _has_external(proto: onnx.ModelProto) -> bool:
    external = onnx.TensorProto.EXTERNAL
    return any(tensor.data_location == external for tensor in proto.graph.initializer)


def _open(proto: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
