"""Searches for the sparsest network that meets a target, by a few whole runs.

Which sparsities are tried, and in which order, is :mod:`onnx_lobs.search.bracket`'s.

The sparsest of several networks that seem good enough is one that the test data happened to favour.
A limit on the drop of the score is therefore kept by the upper end of its confidence interval, 95 %
from one side, wherever the score is a mean over samples; where they are so few that even an
unchanged network would miss the limit, by what that one would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from onnx_lobs.calibration.held_out import held_every
from onnx_lobs.errors import ConfigError
from onnx_lobs.evaluation.confidence import CONFIDENT, upper_difference
from onnx_lobs.evaluation.scoring import check_drop
from onnx_lobs.options.config import PruneConfig
from onnx_lobs.options.texts import write_duration
from onnx_lobs.report.record import ScoreRecord, TargetRecord
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.one_run import Run
from onnx_lobs.run.row_tables import row_tables
from onnx_lobs.run.setup import Setup
from onnx_lobs.run.stored_form import pruned_names
from onnx_lobs.search.bracket import MOST, RUNS, find_smallest, find_sparsest
from onnx_lobs.search.clock import Clock, Turns
from onnx_lobs.storage.formats import find_format, shrinking_formats
from onnx_lobs.storage.sizes import expected_bytes
from onnx_lobs.storage.values import VALUES

ROUNDING = 1e-9  # of a limit that is found by iteration


def search(
    setup: Setup,
    networks: Networks,
    run: Callable[[Setup, Networks, str | None], Run],
    most: float = 1.0,
    least: float = 0.0,
    clock: Clock | None = None,
) -> tuple[Run, TargetRecord]:
    """Run at several sparsities and return the best run, and what became of the target.

    Parameters
    ----------
    setup, networks
        Not modified; every run gets a sparsity and copies of its own.
    run
        Does the whole work of one run; the kind of allocation that the run before it found is
        given too, None at first.
    most
        Largest sparsity that the limits of the layers allow.
    least
        Least sparsity that they have, by limits and by the zeros of the model.
    clock
        Ends the search when there is no time for another run like the longest; None: there is.

    Returns
    -------
    Run and TargetRecord
        The sparsest run that keeps all limits; with a limit of bytes the least sparse one that
        keeps that. If none does, the one nearest to them. Its log warns of test data that are too
        few for the limit, and of a search that the clock ended.
    """
    config = setup.config
    made: list[tuple[float, Run]] = []
    turns = Turns(Clock(None) if clock is None else clock)

    def run_at(sparsity: float) -> Run:
        kind = made[-1][1].choice.kind if made else None
        with turns.turn():
            made.append((sparsity, run(setup.at(sparsity), networks.renewed(), kind)))
        return made[-1][1]

    most = min(most, MOST)
    if config.max_bytes is None:
        find_sparsest(
            lambda s: _is_met(config, run_at(s)), most=most, least=least, goes_on=turns.go_on
        )
    else:

        def size_at(sparsity: float) -> int:
            size = run_at(sparsity).size
            assert size is not None
            return size

        storage = find_format(config.storage)
        expected = expected_bytes(
            networks.result.proto, pruned_names(setup), storage, VALUES[config.values],
            row_tables(setup, networks.result),
        )  # fmt: skip
        find_smallest(config.max_bytes, size_at, expected, most, least, turns.go_on)
    sparsity, best = min(made, key=lambda pair: _rank(config, *pair))
    record = TargetRecord(
        limits=_limits(config),
        is_met=_is_met(config, best),
        sparsity=sparsity,
        runs=tuple({"sparsity": s, **_measures(config, r), **_error(r)} for s, r in made),
    )
    best.log.warn(*_too_few(config, best.output.score))
    if turns.is_ended:
        best.log.warn(_ended(config, len(made)))
    return best, record


def _ended(config: PruneConfig, n_runs: int) -> str:
    assert config.time is not None
    return (
        f"--time {write_duration(config.time)} ended the search after {n_runs} of up to {RUNS} "
        "runs; the best of these was taken: give more time, and the target may be met more closely"
    )


def _too_few(config: PruneConfig, score: ScoreRecord | None) -> list[str]:
    """Warn of test data that hardly tell a drop of the limit from none."""
    if config.max_drop is None or score is None or score.drop_error is None:
        return []
    spread = CONFIDENT * score.drop_error
    if score.unchanged_below:  # hits: of so few that one lost is one too many
        spread = max(spread, upper_difference(1, 0, score.n))
    if spread <= config.max_drop:
        return []
    each = 1 / score.n
    one = f", one sample is {each:.2g}" if score.is_fraction else ""
    return [
        f"{score.n} test samples hardly tell a drop of {config.max_drop:g} (the standard error "
        f"is {score.drop_error:.2g}{one}); give more, and more may be pruned"
    ]


def _measures(config: PruneConfig, run: Run) -> dict[str, float]:
    """Return what the limits are on; a value that is unknown is infinite."""
    score, error = run.output.score, run.output.error
    known = {
        "drop": math.inf if score is None else score.drop,
        "output_error": math.inf if error is None else error,
        "bytes": math.inf if run.size is None else run.size,
    }
    return {name: known[name] for name in _limits(config)}


def _error(run: Run) -> dict[str, float]:
    """Return the standard error of the drop, and what it is likely below, where they are known."""
    score = run.output.score
    if score is None or score.drop_error is None or score.drop_below is None:
        return {}
    return {"drop_error": score.drop_error, "drop_below": score.drop_below}


def _limits(config: PruneConfig) -> dict[str, float]:
    limits = {
        "drop": config.max_drop,
        "output_error": config.max_output_error,
        "bytes": config.max_bytes,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def _likely(config: PruneConfig, run: Run) -> dict[str, float]:
    """Return the measures, of the drop what it is likely below."""
    measured, score = _measures(config, run), run.output.score
    if "drop" not in measured or score is None or score.drop_below is None:
        return measured
    assert config.max_drop is not None
    assert score.unchanged_below is not None
    measured["drop"] = score.drop_below
    if score.drop_below <= score.unchanged_below + ROUNDING:
        # the samples speak for it no less than for an unchanged network
        measured["drop"] = min(measured["drop"], config.max_drop)
    return measured


def _is_met(config: PruneConfig, run: Run) -> bool:
    likely = _likely(config, run)
    return all(likely[name] <= limit for name, limit in _limits(config).items())


def _rank(config: PruneConfig, sparsity: float, run: Run) -> tuple[float, ...]:
    """Return what is least for the best run."""
    limits, likely = _limits(config), _likely(config, run)
    if _is_met(config, run):
        return (0.0, sparsity if "bytes" in limits else -sparsity)
    over = max(likely[name] / max(limit, 1e-12) for name, limit in limits.items())
    return (1.0, over)


def check_target(setup: Setup, networks: Networks) -> None:
    """Raise ConfigError when the options name a target that cannot be searched for."""
    config, pattern = setup.config, setup.pattern
    if config.sparsity is not None:
        raise ConfigError(
            f"sparsity {config.sparsity:g} is given and a target too, which finds its own "
            "sparsity; leave out --sparsity, or the target"
        )
    if pattern.own_sparsity is not None:
        raise ConfigError(
            f"pattern {pattern} has one count of zeros, so no target can be searched for; choose "
            "another pattern, or leave the target out"
        )
    if config.max_output_error is not None and held_every(setup.batches) == 0:
        raise ConfigError(
            "max output error needs samples that nothing was fitted to, and the data "
            f"({setup.batches.origin}) are one batch, which is fitted; give more samples"
        )
    if config.max_drop is not None and setup.scoring is None:
        raise ConfigError(
            "max drop needs a score of labelled data: give them with --test, or a --score that "
            "needs none"
        )
    if config.max_drop is not None and setup.scoring is not None:
        check_drop(config.max_drop, setup.scoring.score)
    if config.max_bytes is not None and not find_format(config.storage).shrinks:
        raise ConfigError(
            f"max bytes cannot be met by zeros in a {find_format(config.storage).name} file, which "
            f"keeps its size; add {shrinking_formats()}"
        )
    if networks.result.is_private:
        raise ConfigError(
            "a target is searched for with several copies of the model in memory, which its "
            "external data exceed; give a --sparsity"
        )
