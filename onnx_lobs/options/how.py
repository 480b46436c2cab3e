"""Declares the options of how zeros are chosen and the other weights made up for them."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.options.checks import finite
from onnx_lobs.options.number_kinds import count, duration, number
from onnx_lobs.options.option import Affects, option
from onnx_lobs.options.word_kinds import SWITCH, choice

# the same names as solvers.METHODS has, which a test compares: that table imports SciPy
METHOD_NAMES = (
    "joint",
    "exact-obs",
    "sparsegpt",
    "lobs",
    "lobs-iterative",
    "net-trim",
    "iht",
    "wanda",
    "obd",
    "apoz",
    "correlation",
    "magnitude",
    "random",
)
EFFORTS = ("fast", "default", "best")


@dataclass(frozen=True, kw_only=True)
class HowOptions:
    """The options of how zeros are chosen."""

    method: str = option(
        "joint",
        f"How zeros are chosen: {', '.join(METHOD_NAMES)}.",
        choice(METHOD_NAMES, metavar="NAME"),
        affects=Affects.SOLVING,
        brief="How zeros are chosen [joint].",
        rank=7,
    )
    effort: str = option(
        "default",
        "How long joint looks for better zeros, and how many allocations are tried.",
        choice(EFFORTS),
        more="By default measurements and trials are given about as much work as the rest of the "
        "run; best tries all that there is.",
        affects=Affects.SOLVING,
        brief="How long to look: fast, default or best.",
        rank=8,
    )
    time: float | None = option(
        None,
        "How long the run may take, e.g. 10m: trials of allocations and runs towards a target are "
        "left out where they would take longer.",
        duration(finite("600")),
        unset="as long as the effort asks for",
        more="Solving itself is never cut, so a run can take longer. What was left out is in the "
        "report's warnings; it depends on the machine's speed, so the same seed may then give "
        "other bytes.",
        affects=Affects.RUN,
    )
    refit: bool | None = option(
        None,
        "Refit the kept weights exactly by least squares.",
        SWITCH,
        flags=("--refit/--no-refit",),
        unset="yes, but not for lobs",
        affects=Affects.SOLVING,
    )
    refit_blocks: bool = option(
        False,
        "Behind pruning, fit parts of the network, nonlinearities included, to what the dense one "
        "gives there; kept where that lowers the output error on held-out samples.",
        SWITCH,
        more="A part lies between two places where a single value leads on, as between residual "
        "blocks; the last one is the whole network. The guide's page on retraining tells what it "
        "won.",
        affects=Affects.RUN,
    )
    sequential: bool | None = option(
        None,
        "Solve each layer on the inputs that the pruned network gives it, or on the dense "
        "network's.",
        SWITCH,
        flags=("--sequential/--independent",),
        unset="independent for lobs, magnitude and random, else sequential",
        more="In sequential mode a layer aims at the dense network's values in front of its "
        "activation.",
        affects=Affects.SOLVING,
    )
    correct: bool | None = option(
        None,
        "Correct means and variances behind pruned layers (biases, rows, BatchNormalization) "
        "where that lowers the output error.",
        SWITCH,
        flags=("--correct/--no-correct",),
        unset="with `sequential=False` and a refit",
        more="In sequential mode every layer is already fitted to what those before it give.",
        affects=Affects.RUN,
    )
    damp: float | None = option(
        None,
        "Damping, as a fraction of the Hessian's mean diagonal.",
        number(finite("1e-3")),
        unset="chosen from the data",
        affects=Affects.SOLVING,
    )
    seed: int = option(
        0,
        "Seed of every random choice: same seed, same bytes.",
        count(0),
        more="Made-up data depend on it too.",
        also=("evaluate",),
    )
