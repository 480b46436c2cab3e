"""Lists the verbs in the order in which the help shows them."""

from __future__ import annotations

from onnx_lobs.cli.evaluate import EVALUATE
from onnx_lobs.cli.expand import EXPAND
from onnx_lobs.cli.guide import GUIDE
from onnx_lobs.cli.inspect import INSPECT
from onnx_lobs.cli.prune import PRUNE

VERBS = (PRUNE, INSPECT, EVALUATE, EXPAND, GUIDE)
