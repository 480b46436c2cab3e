"""Records a score of the dense network and of the pruned one."""

from __future__ import annotations

from dataclasses import dataclass

COLLAPSE = 0.2  # of the dense network's score
CLEARLY = 2.0  # standard errors


@dataclass(frozen=True)
class ScoreRecord:
    """A score of the dense network and of the pruned one on the same test data.

    Parameters
    ----------
    name
        ``top1``, ``top5``, ``agreement``, ``cosine`` or ``FILE.py:FUNCTION``.
    before, after, drop
        The scores, higher is better, and `before` - `after`.
    before_error, after_error, drop_error
        Their standard errors, that of the drop from the samples' paired differences; None
        where the score is no mean over at least two samples.
    n
        Samples that the score is the mean of; 0 if it is no such mean.
    is_fraction
        Whether it is a share of samples, to be shown in per cent.
    drop_below, unchanged_below
        What the drop is below with 95 % confidence, from the paired differences, and what that of
        an unchanged network would be, above 0 for hits; None where there is no `drop_error`.
    """

    name: str
    before: float
    after: float
    drop: float
    before_error: float | None = None
    after_error: float | None = None
    drop_error: float | None = None
    n: int = 0
    is_fraction: bool = False
    drop_below: float | None = None
    unchanged_below: float | None = None

    @property
    def is_collapsed(self) -> bool:
        """Whether more than COLLAPSE of the score is lost, and by more than chance does."""
        spread = 0.0 if self.drop_error is None else self.drop_error
        return self.drop > COLLAPSE * abs(self.before) and self.drop > CLEARLY * spread
