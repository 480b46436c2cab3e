"""Measures how long the network takes before and after, side by side, on one thread."""

from __future__ import annotations

import time

import onnx
import onnxruntime as ort

from onnx_lobs.arrays import Feeds
from onnx_lobs.graph.run.session import MAX_PROTO_BYTES

ROUNDS = 8  # the smallest of them counts: it has least of what other programs do
SECONDS, MOST = 0.5, 10  # that all rounds take at least; so many times that end them early


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
    started, rounds, elapsed = time.perf_counter(), 0, 0.0
    while (rounds < ROUNDS and elapsed < MOST * SECONDS) or elapsed < SECONDS:
        for place, session in enumerate(sessions):
            begun = time.perf_counter()
            session.run(None, dict(feeds))
            best[place] = min(best[place], time.perf_counter() - begun)
        rounds, elapsed = rounds + 1, time.perf_counter() - started
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
