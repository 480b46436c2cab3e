"""One arena for what all sessions of onnxruntime compute on the CPU.

Fresh pages cost many times what writing to them does, and a run makes hundreds of sessions, one
per stage of the network and more per trial. With an arena each, each of them fills its own pages;
with one for all, outputs and buffers take those that earlier sessions have left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from onnx_lobs.memory.heap import trim_heap

P = ParamSpec("P")
R = TypeVar("R")
EXTEND_AS_ASKED = 1  # not to the next power of two, which may be twice as much
DEFAULT = -1
SHRINK = "memory.enable_memory_arena_shrinkage", "cpu:0"
IR_VERSION, OPSET = 8, 13


def share_arena(options: ort.SessionOptions) -> None:
    """Let a session take its memory from the arena of the process.

    A program that registered an allocator of its own with onnxruntime keeps it. Patterns of memory
    are off: they take all of a run's buffers at once, anew, when they are first known.
    """
    _register()
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_env_allocators", "1")


def release_memory() -> None:
    """Give what is free in the arena, and in the heap, back to the system."""
    run = ort.RunOptions()
    run.add_run_config_entry(*SHRINK)
    _smallest_session().run(None, {"x": np.zeros(1, np.float32)}, run)
    trim_heap()


def gives_back(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that calls :func:`release_memory` when it is done."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        finally:
            release_memory()

    return call


@lru_cache(maxsize=1)
def _register() -> None:
    """Make the arena; onnxruntime keeps an earlier one of the process, if there is any."""
    memory = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    arena = ort.OrtArenaCfg(0, EXTEND_AS_ASKED, DEFAULT, DEFAULT)  # no limit of its own
    ort.create_and_register_allocator(memory, arena)


@lru_cache(maxsize=1)
def _smallest_session() -> ort.InferenceSession:
    """Return a session that does nothing: only a run can ask the arena for free memory."""
    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one", [one], [other])
    model = helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    options = ort.SessionOptions()
    share_arena(options)
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
