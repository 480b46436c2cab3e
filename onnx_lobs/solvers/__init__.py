"""Solves layers: arrays in, a Solution out. ``METHODS`` is the table, ``solve`` the door."""

from onnx_lobs.solvers.curves import ErrorCurve, error_curve
from onnx_lobs.solvers.joint.joint import EFFORTS
from onnx_lobs.solvers.methods import METHODS, Method, select, solve
from onnx_lobs.solvers.one_layer import prune_layer
from onnx_lobs.solvers.problem import Problem, error
from onnx_lobs.solvers.refit import refit as refit_mask
from onnx_lobs.solvers.solution import Selection, Solution, Status

__all__ = [
    "EFFORTS",
    "METHODS",
    "ErrorCurve",
    "Method",
    "Problem",
    "Selection",
    "Solution",
    "Status",
    "error",
    "error_curve",
    "prune_layer",
    "refit_mask",
    "select",
    "solve",
]
