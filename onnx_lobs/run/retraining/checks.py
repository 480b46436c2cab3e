"""Refuses options, models and data with which weights cannot move behind pruning."""

from __future__ import annotations

from onnx_lobs.calibration.held_out import fitted_and_held
from onnx_lobs.errors import ConfigError, DataError
from onnx_lobs.options.config import PruneConfig, has_target, is_channels, moves_weights
from onnx_lobs.options.rounds import changed_retraining
from onnx_lobs.patterns import parse_pattern
from onnx_lobs.run.networks import Networks
from onnx_lobs.run.retraining.moving import BIASES, FEW, chosen_move
from onnx_lobs.run.setup import Setup
from onnx_lobs.targets.runtimes import origin


def check_retraining(config: PruneConfig) -> None:
    """Refuse options that retraining, or rounds of it, cannot be combined with.

    Raises
    ------
    ConfigError
        It names them.
    """
    if config.rounds is not None:
        _check_rounds(config)
    if config.retrain is None and (unused := changed_retraining(config)):
        raise ConfigError(f"{unused[0]} says how weights are retrained; add --retrain 200")
    if config.retrain_sparsity is not None:
        _check_thinning(config)
    if not moves_weights(config):
        return
    asked = "--retrain" if config.retrain is not None else "--refit-blocks"
    if config.values != "fp32":
        known = origin(config.target, "values", config.values)
        known = f"{known}," if known else ""
        raise ConfigError(
            f"{asked} moves weights, and values {config.values}{known} are rounded before it; "
            f"take --values fp32, or leave out {asked}"
        )
    if config.bound:
        raise ConfigError(
            f"a bound goes by the layers' errors before {asked}; leave out --bound, or {asked}"
        )


def _check_rounds(config: PruneConfig) -> None:
    if config.retrain is None:
        raise ConfigError(
            "rounds retrain in between; add --retrain 200, or give one --sparsity in their place"
        )
    if config.sparsity is not None or has_target(config):
        raise ConfigError(
            "rounds name all sparsities; leave out --sparsity and limits, or --rounds"
        )
    if is_channels(config) or parse_pattern(config.pattern).own_sparsity is not None:
        raise ConfigError(
            f"pattern {config.pattern} has one round; leave out --rounds, or choose another pattern"
        )
    if config.refit_blocks:
        raise ConfigError("rounds retrain whole networks; leave out --refit-blocks, or --rounds")


def _check_thinning(config: PruneConfig) -> None:
    asked = f"--retrain-sparsity {config.retrain_sparsity:g}"
    if config.rounds is not None or has_target(config):
        raise ConfigError(
            f"{asked} is the sparsity in the end, and rounds and limits choose that too; leave out "
            "--retrain-sparsity, or these"
        )
    if is_channels(config) or not parse_pattern(config.pattern).is_free:
        raise ConfigError(
            f"{asked} takes single weights, which breaks pattern {config.pattern}; leave it out, "
            "or take --pattern unstructured"
        )
    if config.retrain_move == BIASES:
        raise ConfigError(f"{asked} takes weights, and biases alone move; take --retrain-move all")


def _check_samples(config: PruneConfig, samples: int) -> None:
    wanted = config.retrain_sparsity
    if wanted is not None and chosen_move(config.retrain_move, (), samples) == BIASES:
        raise DataError(
            f"--retrain-sparsity {wanted:g} takes weights, and of {samples} samples biases alone "
            f"learn; give {FEW} or more, or take --retrain-move all"
        )


def check_retrainable(setup: Setup, networks: Networks) -> None:
    """Refuse a model or data that a run cannot retrain on, before any work.

    Raises
    ------
    ConfigError
        The model runs in stages.
    DataError
        There are no samples, none can be held out, or they are too few for weights to move where
        weights are to go.
    """
    if networks.is_staged or networks.result.is_private:
        raise ConfigError(
            f"the model has {networks.dense.weight_bytes:,} bytes of weights, more than the "
            f"{networks.limit:,} that one session gets, and moving them runs it as a whole; give "
            "more --memory, or leave out --retrain and --refit-blocks"
        )
    if setup.batches.synthetic:
        raise DataError(
            "moving weights behind pruning needs samples, and there are none beside the model; "
            "give them with -d"
        )
    fitted, _ = fitted_and_held(setup.batches)
    _check_samples(setup.config, fitted.n_samples)
