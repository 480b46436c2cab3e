"""Checks the options of whole channels, and finds those of a run that only removes them."""

from __future__ import annotations

import dataclasses

from onnx_lobs.errors import ConfigError
from onnx_lobs.options.config import PruneConfig, is_channels, removes_first
from onnx_lobs.options.what import CHANNELS
from onnx_lobs.targets.runtimes import origin

OWN_BUDGETS = ("channels", "latency")  # which no zeros save


def check_channels(config: PruneConfig) -> None:
    """Raise ConfigError when options contradict whole channels, or ask for them without."""
    if config.drop_empty and "int8" in (config.values, config.activations):
        known = origin(config.target, "values", config.values)
        raise ConfigError(
            f"--drop-empty does not go with int8{known}: its scales are those of all channels; "
            "drop them first, and round the smaller model's weights in a second run, with "
            "--sparsity 0"
        )
    if removes_first(config):
        _check_first(config)
    elif is_channels(config):
        _check_alone(config)
    else:
        _check_none(config)


def _check_none(config: PruneConfig) -> None:
    alone = {
        "align": config.align is not None,
        "budget": config.budget in OWN_BUDGETS,
        "channel choice": config.channel_choice != "obs",
    }
    for name, is_given in alone.items():
        if is_given:
            raise ConfigError(f"{name} is for whole channels; add --pattern channels or --channels")


def _check_first(config: PruneConfig) -> None:
    if is_channels(config):
        raise ConfigError(
            "--channels removes channels before the weights that stay get zeros, and pattern "
            "channels leaves no zeros to choose; leave one of the two out"
        )
    if config.bound:
        raise ConfigError(
            "--bound does not go with --channels: a bound compares layers of the same size; leave "
            "one of the two out"
        )


def _check_alone(config: PruneConfig) -> None:
    values = f"--values {config.values}{origin(config.target, 'values', config.values)}"
    others = {
        values: config.values != "fp32",
        "--budget weights": config.budget == "weights",
        "--layer-sparsity, --layer-min and --layer-max": bool(
            config.layer_sparsity or config.layer_min or config.layer_max
        ),
        "--cache": config.cache is not None,
        "--max-bytes": config.max_bytes is not None,
        "--activations int8": config.activations == "int8",
        "--correct": bool(config.correct),
        "--allocation erk": config.allocation == "erk",
    }
    for name, is_given in others.items():
        if is_given:
            remedy = "take --values fp32" if name == values else "leave that out"
            raise ConfigError(
                f"pattern channels does not go with {name}; {remedy}, or take --channels, which "
                "removes channels first and then prunes the weights that stay"
            )


def usual_budget(config: PruneConfig) -> str:
    """Return the budget of the zeros of a run, or of its channels if they are all that goes."""
    if removes_first(config) and config.budget in OWN_BUDGETS:
        return "weights"
    return config.budget or ("macs" if is_channels(config) else "weights")


def channels_alone(config: PruneConfig) -> PruneConfig:
    """Return the options of the run that removes the channels of one that prunes what stays.

    What is stored, limited, kept and told belongs to the latter.
    """
    budget = config.budget if config.budget in OWN_BUDGETS else "macs"
    allocation = "auto" if config.allocation == "erk" else config.allocation
    return dataclasses.replace(
        config, pattern=CHANNELS, sparsity=config.channels, channels=None, budget=budget,
        allocation=allocation, layer_sparsity={}, layer_min={}, layer_max={}, max_drop=None,
        max_output_error=None, max_bytes=None, cache=None, values="fp32", activations="fp32",
        storage="dense", correct=None, target=None, chip=None, drop_empty=False,
    )  # fmt: skip
