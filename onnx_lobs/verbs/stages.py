"""Lists the stages of a pruning run in their order, for those who are told of its advance."""

from __future__ import annotations

import dataclasses

from onnx_lobs.options.config import removes_first
from onnx_lobs.report.stages import RunStage
from onnx_lobs.run.log import Log
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.setup import Setup
from onnx_lobs.search.plan import Basis, choose_basis

SCORING = RunStage("scoring the dense model", {"scoring": ""})
REMOVING = RunStage("removing channels", {"removing channels": ""})
CHOOSING = RunStage(
    "choosing the allocation",
    {
        "measuring layers": "layers",
        "trying allocations": "trials",
        "comparing allocations": "finals",
    },
)
SOLVING = RunStage(
    "calibrating and solving",
    {"calibrating and": "", "calibrating": "inputs", "solving": "layers", "correcting": "biases"},
)
JUDGING = RunStage(
    "evaluating",
    {
        "evaluating": "outputs",
        "fitting to other samples": "other fits",
        "scoring": "score",
        "bounding": "bounds",
    },
)
BLOCKS = RunStage("fitting blocks", {"fitting blocks": ""})
JUDGING_BLOCKS = dataclasses.replace(JUDGING, name="evaluating the blocks")
RETRAINING = RunStage("retraining", {"retraining": ""})
JUDGING_AGAIN = dataclasses.replace(JUDGING, name="evaluating what was retrained")
WRITING = RunStage("writing", {"writing": ""})


def stages_of(setup: Setup, networks: Networks, *, writes: bool) -> tuple[RunStage, ...]:
    """Return the stages that a run will have; `writes` says whether it writes a file."""
    is_measured = choose_basis(setup, networks, Log()) is Basis.LOSSES
    return (
        *([REMOVING] if removes_first(setup.config) else []),
        *([SCORING] if setup.scoring is not None else []),
        *([CHOOSING] if is_measured else []),
        SOLVING,
        JUDGING,
        *([BLOCKS, JUDGING_BLOCKS] if setup.config.refit_blocks else []),
        *([RETRAINING, JUDGING_AGAIN] if setup.config.retrain is not None else []),
        *([WRITING] if writes else []),
    )
