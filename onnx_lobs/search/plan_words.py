"""Words the warnings of a plan that cannot be made as the options ask."""

from __future__ import annotations

from onnx_lobs.errors import LobsError
from onnx_lobs.options.config import PruneConfig


def not_compared(config: PruneConfig, error: LobsError) -> str:
    """Return a warning that the outputs cannot be compared, and why."""
    return (
        f"allocation {config.allocation!r} tries what pruning does to the outputs, but "
        f"{error}: zeros were shared evenly (uniform); give a model with a floating output"
    )


def too_large(config: PruneConfig) -> str:
    """Return a warning that the model is too large for trials."""
    return (
        f"allocation {config.allocation!r} and budgets other than weights need the whole "
        "model in one session, but its weights exceed their share of --memory: zeros were shared "
        "by a rule; give more --memory, or choose --allocation uniform or erk"
    )
