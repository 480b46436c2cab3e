"""Lists the rule of every operator that has a derivative here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from onnx_lobs.graph.derivatives.arithmetic import ARITHMETIC
from onnx_lobs.graph.derivatives.convolution import CONVOLUTION
from onnx_lobs.graph.derivatives.elementwise import ELEMENTWISE
from onnx_lobs.graph.derivatives.forms import FORMS
from onnx_lobs.graph.derivatives.normalisation import NORMALISATION
from onnx_lobs.graph.derivatives.pooling import POOLING
from onnx_lobs.graph.derivatives.products import PRODUCTS
from onnx_lobs.graph.derivatives.reductions import REDUCTIONS
from onnx_lobs.graph.derivatives.resize import RESIZE
from onnx_lobs.graph.derivatives.selection import SELECTION
from onnx_lobs.graph.derivatives.softmax import SOFTMAX
from onnx_lobs.graph.derivatives.step import Rule

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **ELEMENTWISE, **ARITHMETIC, **PRODUCTS, **CONVOLUTION, **POOLING, **NORMALISATION,
        **SOFTMAX, **REDUCTIONS, **FORMS, **SELECTION, **RESIZE,
    }
)  # fmt: skip
