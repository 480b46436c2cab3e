"""Says where zeros may stand, and chooses them from scores."""

from onnx_lobs.patterns.base import Pattern, Quota, Shape
from onnx_lobs.patterns.block import Block
from onnx_lobs.patterns.n_m import NM
from onnx_lobs.patterns.parse import PATTERNS, PatternForm, parse_pattern
from onnx_lobs.patterns.unstructured import Unstructured

__all__ = [
    "NM",
    "PATTERNS",
    "Block",
    "Pattern",
    "PatternForm",
    "Quota",
    "Shape",
    "Unstructured",
    "parse_pattern",
]
