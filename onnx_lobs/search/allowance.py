"""Says how much of a run may go into trials: by counted work, and by the clock where it is asked.

Without a limit on the time, only counted work decides, so that the same seed gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnx_lobs.search.clock import Clock
from onnx_lobs.search.trial_samples import MOST_FITTED
from onnx_lobs.search.work import Work

SHARE = 0.6  # of the work of a run without trials, for measurements, trials and finals
TRIALS_SHARE = 0.5  # of what measurements leave, for trials
FREE = 1e11  # work of trials, or of finals, in any case: a few seconds, for which nobody waits
LEAST_TRIALS = 4  # fewer choose nothing
LEAST_FITTED = 0.5  # of the data, below which finals tell little more than trials
FINALISTS = 2  # that are run, mostly


@dataclass(frozen=True)
class Allowance:
    """What trials and finals may take.

    Parameters
    ----------
    work
        Of the parts of the run.
    is_bounded
        Whether trials are in proportion to the rest of the run.
    least_share
        Share of the data that finals are fitted to at the least.
    clock
        The time that is left.
    """

    work: Work
    is_bounded: bool
    least_share: float
    clock: Clock

    @property
    def _bound(self) -> float:
        """The work that measurements leave for trials and finals, if it is bounded."""
        return SHARE * self.work.run - self.work.measuring

    def n_trials(self, wanted: int) -> int:
        """Return how many of the trials that are wanted may be made."""
        if not self.is_bounded:
            return wanted
        part = max(TRIALS_SHARE * self._bound, FREE)
        return min(wanted, max(LEAST_TRIALS, int(part / self.work.trial)))

    def affords_finals(self, n_trials: int) -> bool:
        """Whether finals are in proportion, after so many trials."""
        left = max(self._bound - n_trials * self.work.trial, FREE)
        return not self.is_bounded or FINALISTS * self.work.final_on(LEAST_FITTED) <= left

    def final_share(self, n_trials: int) -> float:
        """Return the share of the data that finals are fitted to, after so many trials."""
        if not self.is_bounded:
            return MOST_FITTED
        left = max(self._bound - n_trials * self.work.trial, FREE)
        share = (left / FINALISTS - self.work.final) / self.work.final_data
        return float(min(max(share, self.least_share), MOST_FITTED))

    def has_time_to_try(self) -> bool:
        """Whether there is time for a trial, and for the run after it."""
        return self.clock.has_time(self.work.trial, self.work.run)

    def has_time_for_finals(self, share: float) -> bool:
        """Whether there is time for all finals on a share of the data, and for the run."""
        return self.clock.has_time(FINALISTS * self.work.final_on(share), self.work.run)
