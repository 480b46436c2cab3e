"""onnx-lobs: prune any ONNX model, one shot, with layer-wise Optimal Brain Surgeon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_lobs.errors import (
    ConfigError,
    DataError,
    InferenceError,
    LobsError,
    ModelError,
    ScoreError,
    SolverError,
)
from onnx_lobs.options.config import PruneConfig

if TYPE_CHECKING:
    from onnx_lobs.report.evaluation import Evaluation
    from onnx_lobs.report.record import Report
    from onnx_lobs.solvers import prune_layer
    from onnx_lobs.verbs.evaluate import evaluate
    from onnx_lobs.verbs.prune import PruneResult, prune
    from onnx_lobs.verbs.retrain import RetrainResult, retrain

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
    "RetrainResult",
    "ScoreError",
    "SolverError",
    "__version__",
    "evaluate",
    "prune",
    "prune_layer",
    "retrain",
]

_LATE = {
    "Evaluation": "onnx_lobs.report.evaluation",
    "evaluate": "onnx_lobs.verbs.evaluate",
    "PruneResult": "onnx_lobs.verbs.prune",
    "prune": "onnx_lobs.verbs.prune",
    "Report": "onnx_lobs.report.record",
    "prune_layer": "onnx_lobs.solvers",
    "RetrainResult": "onnx_lobs.verbs.retrain",
    "retrain": "onnx_lobs.verbs.retrain",
}


def __dir__() -> list[str]:
    """List the public names, whether they were imported already or not."""
    return list(__all__)


def __getattr__(name: str) -> Any:
    """Import the pipeline, and onnxruntime with it, when it is first asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)
