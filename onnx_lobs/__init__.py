"""onnx-lobs: prune any ONNX model, one shot, with layer-wise Optimal Brain Surgeon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_lobs.config import PruneConfig
from onnx_lobs.errors import (
    ConfigError,
    DataError,
    InferenceError,
    LobsError,
    ModelError,
    ScoreError,
    SolverError,
)

if TYPE_CHECKING:
    from onnx_lobs.comparison import Evaluation, evaluate
    from onnx_lobs.pipeline import PruneResult, prune
    from onnx_lobs.report.record import Report
    from onnx_lobs.solvers import prune_layer

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DataError",
    "Evaluation",
    "InferenceError",
    "LobsError",
    "ModelError",
    "PruneConfig",
    "PruneResult",
    "Report",
    "ScoreError",
    "SolverError",
    "__version__",
    "evaluate",
    "prune",
    "prune_layer",
]

_LATE = {
    "Evaluation": "onnx_lobs.comparison",
    "evaluate": "onnx_lobs.comparison",
    "PruneResult": "onnx_lobs.pipeline",
    "prune": "onnx_lobs.pipeline",
    "Report": "onnx_lobs.report.record",
    "prune_layer": "onnx_lobs.solvers",
}


def __getattr__(name: str) -> Any:
    """Import the pipeline, and onnxruntime with it, when it is first asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)
