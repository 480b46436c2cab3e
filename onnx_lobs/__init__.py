"""onnx-lobs: prune any ONNX model, one shot, with layer-wise Optimal Brain Surgeon."""

from onnx_lobs.config import PruneConfig
from onnx_lobs.errors import (
    ConfigError,
    DataError,
    InferenceError,
    LobsError,
    ModelError,
    SolverError,
)
from onnx_lobs.pipeline import PruneResult, prune
from onnx_lobs.report.record import Report

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DataError",
    "InferenceError",
    "LobsError",
    "ModelError",
    "PruneConfig",
    "PruneResult",
    "Report",
    "SolverError",
    "__version__",
    "prune",
]
