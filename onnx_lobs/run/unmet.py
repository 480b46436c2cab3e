"""Says why a run has other zeros than were asked for."""

from __future__ import annotations

from onnx_lobs.allocation.rules import limits
from onnx_lobs.run.layer_step import UNTOUCHED
from onnx_lobs.run.one_run import Run
from onnx_lobs.solvers import METHODS

VISIBLE = 5e-4  # of all weights: what a report shows in its figures


def explain_zeros(run: Run) -> list[str]:
    """Return why zeros are more, or fewer, than the sparsity of a run says; [] where they are not.

    Of budgets other than weights, and of layers that were given a sparsity, only what the model has
    already is told.
    """
    setup, records = run.setup, run.records.values()
    weights, zeros = sum(r.weights for r in records), sum(r.zeros for r in records)
    if not weights or setup.config.retrain_sparsity is not None:  # zeros are those of retraining
        return []
    least, asked = limits(setup.slots)[0], setup.sparsity
    wanted = f"{100 * asked:.4g} % that {_was(run)}"
    if any(slot.present for slot in setup.slots) and least > asked + VISIBLE:
        stay = "its weights stay as they are"
        if any(record.status not in UNTOUCHED for record in records):
            stay = "all of them stay"
        has = f"the model has {100 * zeros / weights:.1f} % zeros already"
        return [f"{has}, more than the {wanted}: {stay}"]
    is_plain = setup.config.budget == "weights" and all(s.fixed is None for s in setup.slots)
    rounded = max(VISIBLE * weights, len(records))  # each layer may round a weight
    if not is_plain or abs(zeros - asked * weights) <= rounded:
        return []
    reason = "layers that no data reach were left, or numbers too small for their type became 0"
    if METHODS[setup.config.method].prunes_bias:
        reason = f"method {setup.config.method} has zeros among the biases too"
    elif not setup.pattern.is_free:
        reason = f"pattern {setup.pattern} has zeros in pieces that do not fit every layer"
    return [f"{100 * zeros / weights:.1f} % of the weights are zero, not the {wanted}: {reason}"]


def _was(run: Run) -> str:
    return "was asked for" if run.setup.config.sparsity is not None else "is the default"
