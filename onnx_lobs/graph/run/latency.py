"""Measures how long the network takes before and after, side by side, on one thread."""

from __future__ import annotations

import time
from collections.abc import Sequence

import onnx
import onnxruntime as ort

from onnx_lobs.arrays import Feeds
from onnx_lobs.graph.run.session import MAX_PROTO_BYTES

ROUNDS = 8  # the smallest of them counts: it has least of what other programs do
# One thread runs it all, the one that asks: while another program has its core, this clock stands,
# if it is fine enough.
FINE = 1e-6  # seconds
CLOCK = (
    time.thread_time if time.get_clock_info("thread_time").resolution <= FINE else time.perf_counter
)
SECONDS, MOST = 0.5, 10  # that all rounds take at least; so many times that end them early


def latencies(
    before: onnx.ModelProto, after: onnx.ModelProto, feeds: Feeds
) -> tuple[float, float] | None:
    """Return the seconds of one run of each, the least of several that take turns.

    None for models that are not in one piece, which are not loaded here.
    """
    if not is_in_one_piece(before) or not is_in_one_piece(after):
        return None
    found = least_seconds([(before, feeds), (after, feeds)])
    return found[0], found[1]


def least_seconds(
    runs: Sequence[tuple[onnx.ModelProto, Feeds]], seconds: float = SECONDS
) -> list[float]:
    """Return the seconds of one run of each model on its inputs: the least of ROUNDS or more.

    They take turns, for `seconds` at least.
    """
    sessions = [(_open(proto), dict(feeds)) for proto, feeds in runs]
    best = [float("inf")] * len(sessions)
    started, rounds, elapsed = time.perf_counter(), 0, 0.0
    while (rounds < ROUNDS and elapsed < MOST * seconds) or elapsed < seconds:
        for place, (session, feeds) in enumerate(sessions):
            begun = CLOCK()
            session.run(None, feeds)
            best[place] = min(best[place], CLOCK() - begun)
        rounds, elapsed = rounds + 1, time.perf_counter() - started
    return best


def is_in_one_piece(proto: onnx.ModelProto) -> bool:
    """Whether a model is one message with all its weights, which onnxruntime loads as it is."""
    external = onnx.TensorProto.EXTERNAL
    parts = any(tensor.data_location == external for tensor in proto.graph.initializer)
    return not parts and proto.ByteSize() <= MAX_PROTO_BYTES


def _open(proto: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
