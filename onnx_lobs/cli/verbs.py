"""Lists the verbs in the order in which the help shows them."""

from __future__ import annotations

from onnx_lobs.cli.compare import COMPARE
from onnx_lobs.cli.config import CONFIG
from onnx_lobs.cli.evaluate import EVALUATE
from onnx_lobs.cli.expand import EXPAND
from onnx_lobs.cli.export_c import EXPORT_C
from onnx_lobs.cli.guide import GUIDE
from onnx_lobs.cli.inspect import INSPECT
from onnx_lobs.cli.prune import PRUNE
from onnx_lobs.cli.retrain import RETRAIN
from onnx_lobs.cli.sensitivity import SENSITIVITY

VERBS = (PRUNE, RETRAIN, INSPECT, EVALUATE, SENSITIVITY, COMPARE, EXPAND, EXPORT_C, CONFIG, GUIDE)
