"""Lists the options of the verbs that compare two models or retrain one: their own, and prune's."""

from __future__ import annotations

from onnx_lobs.options.config import OPTIONS
from onnx_lobs.options.limits import Limits
from onnx_lobs.options.option import for_verb, options_of
from onnx_lobs.options.retraining import RetrainOptions

LIMITS_PANEL, RETRAINING_PANEL = "Limits", "Retraining"
SHARED_OPTIONS = for_verb(OPTIONS, "evaluate")  # that two models are compared with, as pruned
COMPARE_OPTIONS = {**SHARED_OPTIONS, **options_of(Limits, LIMITS_PANEL)}
# nothing is put on the disk; memory decides how many samples go through the network at once
RUN_OPTIONS = {n: o for n, o in SHARED_OPTIONS.items() if n != "scratch"}
RETRAIN_OPTIONS = {**options_of(RetrainOptions, RETRAINING_PANEL), **RUN_OPTIONS}
